package cluster

import (
	"context"
	"sync/atomic"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// proposal is one command on its way through the log.
type proposal struct {
	command fsm.Command
	// taken decides between the proposer, who takes the proposal into a batch,
	// and the caller, who gives up on it: whoever sets it first.
	taken atomic.Bool
	done  chan struct{} // closed by the proposer after result and err are set
	// result and err: with err nil, the answer of the state machine.
	result fsm.Result
	err    error
}

func newProposal(c fsm.Command) *proposal {
	return &proposal{command: c, done: make(chan struct{})}
}

// take claims the proposal for a batch. It is false if the caller gave up.
func (p *proposal) take() bool { return p.taken.CompareAndSwap(false, true) }

// abandon gives up. It is false if the proposal is in a batch already: then it
// may take effect.
func (p *proposal) abandon() bool { return p.taken.CompareAndSwap(false, true) }

func (p *proposal) answer(r fsm.Result, err error) {
	p.result, p.err = r, err
	close(p.done)
}

// submit puts a command into the queue and waits for its answer. It never
// blocks on the queue: a full one is [sema.ErrOverloaded].
func (o *office) submit(ctx context.Context, c fsm.Command) (fsm.Result, error) {
	p := newProposal(c)
	if err := o.enqueue(p); err != nil {
		return fsm.Result{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if p.abandon() {
			return fsm.Result{}, context.Cause(ctx)
		}
		return fsm.Result{}, &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
	case <-o.ended:
		if p.abandon() {
			return fsm.Result{}, o.node.notLeader()
		}
		<-p.done // the proposer answers all that it took before it ends
	}
	if p.err != nil {
		return fsm.Result{}, p.err
	}
	return p.result, p.result.Err
}

func (o *office) enqueue(p *proposal) error {
	select {
	case o.queue <- p:
		return nil
	default:
		return sema.ErrOverloaded
	}
}
