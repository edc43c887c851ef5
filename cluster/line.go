package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// Wait implements [transport.Backend]. A ticket is taken by an entry of the log,
// and so is everything that ends it.
func (b backend) Wait(ctx context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	if err := req.ValidateWait(); err != nil {
		return sema.Info{}, err
	}
	o, err := b.leading()
	if err != nil {
		return sema.Info{}, err
	}
	call := o.waiters.enter(req.Name, req.Attempt, req.Positions && told != nil)
	info, err := o.wait(ctx, req, call, told)
	switch {
	case err == nil, errors.Is(err, sema.ErrInvalid), errors.Is(err, sema.ErrAttemptFinished):
		o.waiters.done(call)
	default:
		o.waiters.leave(call, errors.Is(ctx.Err(), context.DeadlineExceeded))
	}
	return info, err
}

func (o *office) wait(ctx context.Context, req transport.AcquireRequest, call *waitCall, told func(sema.Place)) (sema.Info, error) {
	r, err := o.submit(ctx, fsm.Command{Kind: fsm.Acquire, Name: req.Name, Owner: req.Owner, Timeout: req.Timeout, Attempt: req.Attempt, Wait: true})
	if err != nil || r.Ticket == 0 {
		return r.Info, err
	}
	if told != nil && !req.Retry { // a new ticket is the last in line
		told(sema.Place{Position: r.Info.Waiting, Holder: r.Info})
	}
	for {
		select {
		case a := <-call.answer:
			return a.info, a.err
		case position := <-call.positions:
			told(sema.Place{Position: position, Holder: o.node.machine.Look(req.Name).Info})
		case <-ctx.Done():
			return sema.Info{}, &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
		case <-o.ended:
			return sema.Info{}, &sema.OutcomeUnknownError{Cause: o.node.notLeader()}
		}
	}
}

// undo puts the end of an attempt into the queue. It is false if that is full.
func (o *office) undo(name string, a sema.Attempt) bool {
	return o.enqueue(newProposal(fsm.Command{Kind: fsm.Release, Name: name, Attempt: a})) == nil
}

const (
	// linePage is how many places of a line are read at a time.
	linePage = 1024
	// positionsEvery is how often waiters are told their places.
	positionsEvery = time.Second
)

// watchLines cancels waiters whose clients are gone, and tells the others where
// they stand, until the office ends.
func (o *office) watchLines() {
	ticker := time.NewTicker(clockTick)
	defer ticker.Stop()
	lastTold := time.Now()
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		if o.clock.mayExpire() {
			o.waiters.cancelAbsent(now, o.undo)
			o.waiters.cancelLost(now, o.node.machine, o.undo)
		}
		if now.Sub(lastTold) >= positionsEvery {
			lastTold = now
			for name, watching := range o.waiters.watched() {
				o.tellPositions(name, watching)
			}
		}
	}
}

// tellPositions tells those in a line who want to know where they stand. It
// reads as much of the line as it takes to find them all.
func (o *office) tellPositions(name string, watching int) {
	var after fsm.Place
	for more := true; more && watching > 0 && o.ctx.Err() == nil; {
		page := make([]fsm.Place, 0, linePage)
		after, more = o.node.machine.Line(name, after, linePage, func(p fsm.Place) { page = append(page, p) })
		watching -= o.waiters.tell(page)
	}
}
