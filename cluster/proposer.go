package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/hashicorp/raft"
	"go.opentelemetry.io/otel/trace"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

const (
	// queueLength bounds the commands that wait for the entry before theirs.
	// Beyond it the answer is sema.ErrOverloaded.
	queueLength = 64 * fsm.MaxCommands
	// enqueueTimeout is how long raft may take to accept an entry.
	enqueueTimeout = 5 * time.Second
)

const (
	// maxEntries bounds the entries in flight, and smallEntries is how many commands
	// those in flight may have together for another one to follow them at once.
	maxEntries   = 4
	smallEntries = 8
)

// propose is the office's proposer: it takes all commands that have come while
// the entry before was being committed, stamps them and proposes them as one
// entry. This is group commit (Gawlick and Kinkade, 1985), whose size adapts to the
// load, with no timer that would delay a lone command. Small entries do not wait for
// each other: so a hand-over need not wait until the last owner is back in line. After
// a large one those who come again at once are waited for, see [returning].
func (o *office) propose() {
	flight := flight{entries: make(chan *entry, maxEntries), landed: make(chan *entry, maxEntries)}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		for e := range flight.entries {
			o.land(e, flight.landed)
		}
	}()
	o.fly(&flight)
	close(flight.entries)
	<-answered
	close(o.ended)
	for { // whoever comes later sees that it has ended
		select {
		case p := <-o.queue:
			p.refuse(o.node.notLeader())
		default:
			return
		}
	}
}

// flight is what is proposed and not answered yet.
type flight struct {
	entries  chan *entry // in the order of the log; has room for all
	landed   chan *entry // committed, or never will be
	n        int         // entries
	commands int
	back     returning
}

// full reports whether another entry has to wait.
func (f *flight) full() bool {
	return f.n == maxEntries || f.n > 0 && f.commands >= smallEntries
}

// land takes in that an entry has landed, while so many commands wait.
func (f *flight) land(e *entry, waiting int) {
	f.n, f.commands = f.n-1, f.commands-e.size
	if e.lone >= smallEntries && e.err == nil {
		f.back.expect(e.lone+waiting, e.took)
	}
}

// fly proposes one entry after the other until the office ends.
func (o *office) fly(f *flight) {
	var next *proposal // left over from the batch before
	for {
		if next == nil {
			select {
			case <-o.ctx.Done():
				return
			case e := <-f.landed:
				f.land(e, 0)
				continue
			case next = <-o.queue:
			}
		}
		for f.full() {
			e := <-f.landed
			f.land(e, len(next.commands)+int(o.queued.Load()))
		}
		o.awaitReturn(&f.back, len(next.commands))
		runtime.Gosched() // whoever is about to ask goes first, and travels along
		if o.ctx.Err() != nil {
			if next.started != nil {
				next.refuse(o.node.notLeader())
			}
			return
		}
		var batch []*proposal
		if batch, next = o.gather(next); len(batch) > 0 {
			e := o.launch(batch)
			f.n, f.commands = f.n+1, f.commands+e.size
			f.entries <- e
		}
	}
}

// gather takes what is waiting. Commands in one batch came at the same time, so
// their order is ours to choose: those that end somebody's hold because of time
// go last, so that a touch that came with them saves the hold. What does not fit
// any more is left for the next batch.
func (o *office) gather(first *proposal) (all []*proposal, left *proposal) {
	var batch, ending []*proposal
	size := 0
	for p := first; ; {
		if size += len(p.commands); size > maxProposed {
			return append(batch, ending...), p
		}
		o.queued.Add(-int64(len(p.commands)))
		switch {
		case !p.take(): // the caller gave up
			size -= len(p.commands)
		case !p.deadline.IsZero() && !time.Now().Before(p.deadline): // or has done so by now
			p.answer(nil, context.DeadlineExceeded)
			size -= len(p.commands)
		case endsByTime(&p.commands[0]):
			ending = append(ending, p)
		default:
			batch = append(batch, p)
		}
		select {
		case p = <-o.queue:
		default:
			return append(batch, ending...), nil
		}
	}
}

func endsByTime(c *fsm.Command) bool {
	return c.Kind == fsm.Expire || c.Kind == fsm.Acquire && c.Token != 0
}

// entry is one that is proposed.
type entry struct {
	batch  []*proposal
	size   int           // commands
	lone   int           // of them, those with a caller of their own
	asked  time.Duration // when, by the host's clock
	future raft.ApplyFuture
	span   trace.Span    // nil: none of its calls is traced
	err    error         // it could not be proposed
	took   time.Duration // from asking to landing
}

// land waits for an entry and answers everyone in it.
func (o *office) land(e *entry, landed chan<- *entry) {
	results, err := o.await(e)
	o.node.tracer.landed(e, err)
	e.took = o.node.cfg.Host.Clock.Monotonic() - e.asked
	landed <- e
	meters := o.node.meters
	if meters.on && err == nil {
		meters.entry(e, results) // first: whoever has an answer finds it counted
	}
	for _, p := range e.batch {
		if err != nil {
			p.answer(nil, err)
			continue
		}
		n := len(p.commands)
		for i := range n {
			o.observe(&p.commands[i], &results[i])
		}
		p.answer(results[:n:n], nil)
		results = results[n:]
	}
}

// observe keeps what the leader knows by heart in step with the log.
func (o *office) observe(c *fsm.Command, r *fsm.Result) {
	if r.Ended != 0 {
		o.expiry.remove(r.Ended)
		o.awaited.remove(r.Ended)
	}
	if r.Err == nil && c.Kind == fsm.Acquire && r.Info.Status == sema.Acquired {
		o.expiry.add(fsm.Deadline{Name: r.Info.Name, Token: r.Info.Token, At: r.Deadline})
	}
	if c.Kind == fsm.Acquire && r.Ticket != 0 {
		o.awaited.add(fsm.Deadline{Name: r.Info.Name, Token: r.Info.Token, At: r.Deadline})
	}
	if g := r.Granted; g != nil {
		d := fsm.Deadline{Name: g.Info.Name, Token: g.Info.Token, At: g.Deadline}
		o.expiry.add(d)
		if g.Info.Waiting > 0 {
			o.awaited.add(d)
		}
		o.waiters.granted(g)
	}
	if r.Err == nil && c.Kind == fsm.Release && c.Token == 0 {
		o.waiters.cancelled(c.Attempt)
	}
}

// launch proposes one batch.
func (o *office) launch(batch []*proposal) *entry {
	e := &entry{batch: batch}
	for _, p := range batch {
		e.size += len(p.commands)
		if len(p.commands) == 1 {
			e.lone++
		}
	}
	o.node.tracer.propose(e)
	commands := make([]fsm.Command, 0, e.size)
	for _, p := range batch {
		commands = append(commands, p.commands...)
	}
	host := o.node.cfg.Host
	e.asked = host.Clock.Monotonic()
	stamp := fsm.Stamp{Term: o.term, Clock: o.clock.now(), Wall: host.Clock.Wall().UnixNano()}
	data, err := fsm.AppendBatch(nil, fsm.Batch{Stamp: stamp, Commands: commands})
	if err != nil {
		e.err = err
		return e
	}
	e.future = o.node.raft.Apply(data, enqueueTimeout)
	o.node.endWithRaft(e.future)
	return e
}

// await waits for the answers to an entry. It does not end with the office: what was
// proposed is waited for, so that its callers know.
func (o *office) await(e *entry) ([]fsm.Result, error) {
	if e.err != nil {
		return nil, e.err
	}
	if err := e.future.Error(); err != nil {
		return nil, o.applyError(err)
	}
	results, ok := e.future.Response().([]fsm.Result)
	if !ok {
		return nil, &sema.OutcomeUnknownError{Cause: fmt.Errorf("the state machine stopped: %v", e.future.Response())}
	}
	o.lease.confirm(e.asked)
	return results, nil
}

// applyError tells entries that were not appended from those whose fate cannot
// be known.
func (o *office) applyError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return o.node.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return sema.ErrOverloaded
	}
	return &sema.OutcomeUnknownError{Cause: err}
}
