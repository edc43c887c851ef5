package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

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

// propose is the office's proposer: it takes all commands that have come while
// the entry before was being committed, stamps them and proposes them as one
// entry. This is group commit (Gawlick and Kinkade, 1985): one entry in flight,
// whose size adapts to the load, with no timer that would delay a lone command.
func (o *office) propose() {
	defer close(o.ended)
	var next *proposal // left over from the batch before
	for {
		if next == nil {
			select {
			case <-o.ctx.Done():
				return
			case next = <-o.queue:
			}
		}
		if o.ctx.Err() != nil {
			return
		}
		var batch []*proposal
		if batch, next = o.gather(next); len(batch) > 0 {
			o.commit(batch)
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
		if size += len(p.commands); size > fsm.MaxCommands {
			return append(batch, ending...), p
		}
		o.queued.Add(-int64(len(p.commands)))
		switch {
		case !p.take(): // the caller gave up
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

// commit proposes one batch, waits for it and answers everyone in it.
func (o *office) commit(batch []*proposal) {
	results, err := o.apply(batch)
	for _, p := range batch {
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
		o.expiry.add(fsm.Deadline{Name: c.Name, Token: r.Info.Token, At: r.Deadline})
	}
	if c.Kind == fsm.Acquire && r.Ticket != 0 {
		o.awaited.add(fsm.Deadline{Name: c.Name, Token: r.Info.Token, At: r.Deadline})
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

func (o *office) apply(batch []*proposal) ([]fsm.Result, error) {
	commands := make([]fsm.Command, 0, len(batch))
	for _, p := range batch {
		commands = append(commands, p.commands...)
	}
	host := o.node.cfg.Host
	asked := host.Clock.Monotonic()
	stamp := fsm.Stamp{Term: o.term, Clock: o.clock.now(), Wall: host.Clock.Wall().UnixNano()}
	entry, err := fsm.AppendBatch(nil, fsm.Batch{Stamp: stamp, Commands: commands})
	if err != nil {
		return nil, err
	}
	future := o.node.raft.Apply(entry, enqueueTimeout)
	// Not until the office ends: what was proposed is waited for, so that its callers know.
	if err := o.node.await(context.Background(), future); err != nil {
		return nil, o.applyError(err)
	}
	results, ok := future.Response().([]fsm.Result)
	if !ok {
		return nil, &sema.OutcomeUnknownError{Cause: fmt.Errorf("the state machine stopped: %v", future.Response())}
	}
	o.lease.confirm(asked)
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
