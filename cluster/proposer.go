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
	queueLength = 16 * fsm.MaxCommands
	// enqueueTimeout is how long raft may take to accept an entry.
	enqueueTimeout = 5 * time.Second
)

// propose is the office's proposer: it takes all commands that have come while
// the entry before was being committed, stamps them and proposes them as one
// entry. This is group commit (Gawlick and Kinkade, 1985): one entry in flight,
// whose size adapts to the load, with no timer that would delay a lone command.
func (o *office) propose() {
	defer close(o.ended)
	for {
		select {
		case <-o.ctx.Done():
			return
		case first := <-o.queue:
			if batch := o.gather(first); len(batch) > 0 {
				o.commit(batch)
			}
		}
	}
}

// gather takes what is waiting. Commands in one batch came at the same time, so
// their order is ours to choose: those that end somebody's hold because of time
// go last, so that a touch that came with them saves the hold.
func (o *office) gather(first *proposal) []*proposal {
	var batch, ending []*proposal
	for p := first; ; {
		switch {
		case !p.take(): // the caller gave up
		case endsByTime(&p.command):
			ending = append(ending, p)
		default:
			batch = append(batch, p)
		}
		if len(batch)+len(ending) == fsm.MaxCommands {
			return append(batch, ending...)
		}
		select {
		case p = <-o.queue:
		default:
			return append(batch, ending...)
		}
	}
}

func endsByTime(c *fsm.Command) bool {
	return c.Kind == fsm.Expire || c.Kind == fsm.Acquire && c.Token != 0
}

// commit proposes one batch, waits for it and answers everyone in it.
func (o *office) commit(batch []*proposal) {
	results, err := o.apply(batch)
	for i, p := range batch {
		if err != nil {
			p.answer(fsm.Result{}, err)
			continue
		}
		o.expiry.observe(&p.command, results[i])
		p.answer(results[i], nil)
	}
}

func (o *office) apply(batch []*proposal) ([]fsm.Result, error) {
	commands := make([]fsm.Command, len(batch))
	for i, p := range batch {
		commands[i] = p.command
	}
	asked := time.Now()
	stamp := fsm.Stamp{Term: o.term, Clock: o.clock.now(), Wall: asked.UnixNano()}
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
