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
	c := fsm.Command{Kind: fsm.Acquire, Name: req.Name, Owner: req.Owner, Timeout: req.Timeout, Attempt: req.Attempt, Wait: true, Account: (*fsm.Account)(req.Account)}
	return o.waitFor(ctx, c, req.Positions && told != nil, func(ctx context.Context, call *waitCall, r fsm.Result) (sema.Info, error) {
		if told != nil && !req.Retry { // a new ticket is the last in line
			o.waiters.toldPlace(call, r.Info.Waiting)
			told(sema.Place{Position: r.Info.Waiting, Holder: r.Info})
		}
		return o.wait(ctx, call, told)
	})
}

// waitFor has an acquire decided as the call that its attempt waits with. inLine
// goes on with it if the attempt has a ticket.
func (o *office) waitFor(ctx context.Context, c fsm.Command, positions bool,
	inLine func(context.Context, *waitCall, fsm.Result) (sema.Info, error)) (info sema.Info, err error) {

	call, err := o.waiters.enter(c.Name, c.Attempt, positions)
	if err != nil {
		return sema.Info{}, err
	}
	told := false // also if inLine panics
	defer func() {
		switch {
		case told && errors.Is(err, sema.ErrInvalid):
			o.waiters.refused(call)
		case told && err == nil:
			if !o.waiters.done(call) {
				info, err = sema.Info{}, &sema.OutcomeUnknownError{Cause: errSuperseded}
			}
		default:
			o.waiters.leave(call, errors.Is(err, sema.ErrAttemptFinished) || errors.Is(ctx.Err(), context.DeadlineExceeded))
		}
	}()
	r, err := o.submitThen(ctx, c, func(r fsm.Result, err error) { o.waiters.decided(call.id, r, err) })
	if info = r.Info; err == nil && r.Ticket != 0 {
		info, err = inLine(ctx, call, r)
	}
	told = true
	return info, err
}

// wait is a call that has its place in line.
func (o *office) wait(ctx context.Context, call *waitCall, told func(sema.Place)) (info sema.Info, err error) {
	if span := o.node.tracer.spanOf(ctx); span != nil {
		inLine := o.node.tracer.under(span, "wait in line")
		defer func() { transport.EndSpan(inLine, err) }()
	}
	for {
		select {
		case a := <-call.answer:
			return a.info, a.err
		case place := <-call.places:
			told(place)
		case <-ctx.Done():
			return sema.Info{}, &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
		case <-o.ended:
			return sema.Info{}, &sema.OutcomeUnknownError{Cause: o.node.notLeader()}
		}
	}
}

// undo puts the end of an attempt into the queue.
func (o *office) undo(c fsm.Command, then func(fsm.Result, error)) bool {
	p := newProposal(c)
	p.then = then
	return o.enqueue(p) == nil
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
		o.node.overload.calm(o.node)
		now := time.Now()
		if o.clock.mayExpire() {
			o.waiters.undoAbsent(now, o.undo)
			o.waiters.undoLost(now, o.node.machine, o.undo)
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
		var holder sema.Info
		holder, after, more = o.node.machine.Line(name, after, linePage, func(p fsm.Place) { page = append(page, p) })
		watching -= o.waiters.tell(holder, page)
	}
}
