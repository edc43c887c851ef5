package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// proposal is one command on its way through the log, or a few that one caller
// sends together. They go into one entry.
type proposal struct {
	commands []fsm.Command // at least one, at most maxTogether
	// taken decides between the proposer, who takes the proposal into a batch,
	// and the caller, who gives up on it: whoever sets it first.
	taken atomic.Bool
	// then, unless nil, is told the answer before anybody else: by the proposer, or
	// by the caller who gave up. It must not block.
	then func(fsm.Result, error)
	// started is the call to answer if no goroutine waits for it, and deadline, unless
	// zero, when it is not worth proposing any more. Else done is closed by the
	// proposer after results and err are set.
	started  *transport.Started
	deadline time.Time
	done     chan struct{}
	// results and err: with err nil, the answers of the state machine, in order.
	results []fsm.Result
	err     error
	// span is the call's, and inQueue that of its wait for an entry; nil if nobody
	// traces it.
	span, inQueue trace.Span
	one           [1]fsm.Command // where commands are, if it is one that was started
}

const (
	// maxProposed bounds the commands in an entry. The state machine takes more, but
	// answers nobody else meanwhile; and the work that an entry costs by itself, divided
	// by so many, is small.
	maxProposed = fsm.MaxCommands / 2
	// maxTogether bounds the commands of one proposal, so that several fit into an entry.
	maxTogether = maxProposed / 2
)

func newProposal(commands ...fsm.Command) *proposal {
	return &proposal{commands: commands, done: make(chan struct{})}
}

// newStarted is a proposal that answers a call by itself.
func newStarted(s *transport.Started, c fsm.Command) *proposal {
	p := &proposal{started: s, deadline: s.Deadline, one: [1]fsm.Command{c}}
	p.commands = p.one[:]
	return p
}

// take claims the proposal for a batch. It is false if the caller gave up.
func (p *proposal) take() bool { return p.taken.CompareAndSwap(false, true) }

// abandon gives up. It is false if the proposal is in a batch already: then it
// may take effect.
func (p *proposal) abandon() bool {
	abandoned := p.taken.CompareAndSwap(false, true)
	if abandoned {
		p.gaveUp()
	}
	if abandoned && p.then != nil {
		p.then(fsm.Result{}, errAbandoned)
	}
	return abandoned
}

// refuse answers a proposal that nobody waits for, unless it is in a batch already.
func (p *proposal) refuse(err error) {
	if p.started != nil && p.take() {
		p.answer(nil, err)
	}
}

// errAbandoned is what then is told of a proposal that was given up in the queue.
var errAbandoned = errors.New("given up before it was proposed")

func (p *proposal) answer(results []fsm.Result, err error) {
	p.gaveUp()
	if s := p.started; s != nil {
		if s.Err = err; err == nil {
			r := &results[0]
			s.Info, s.Released, s.Err = r.Info, r.Ended != 0, r.Err
		}
		s.By.Answered()
		return
	}
	p.results, p.err = results, err
	if p.then != nil {
		var r fsm.Result
		if err == nil {
			r = results[0]
		}
		p.then(r, err)
	}
	close(p.done)
}

// submit puts a command into the queue and waits for its answer. It never
// blocks on the queue: a full one is [sema.ErrOverloaded].
func (o *office) submit(ctx context.Context, c fsm.Command) (fsm.Result, error) {
	return o.submitThen(ctx, c, nil)
}

// submitThen is submit that tells then first, whatever becomes of the command.
func (o *office) submitThen(ctx context.Context, c fsm.Command, then func(fsm.Result, error)) (fsm.Result, error) {
	p := newProposal(c)
	p.then = then
	o.trace(p, ctx)
	if err := o.enqueue(p); err != nil {
		if then != nil {
			then(fsm.Result{}, err)
		}
		return fsm.Result{}, err
	}
	results, err := o.answerTo(ctx, p)
	if err != nil {
		return fsm.Result{}, err
	}
	return results[0], results[0].Err
}

// answerTo waits for the answer to a proposal that is in the queue.
func (o *office) answerTo(ctx context.Context, p *proposal) ([]fsm.Result, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		if p.abandon() {
			return nil, context.Cause(ctx)
		}
		return nil, &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
	case <-o.ended:
		if p.abandon() {
			return nil, o.node.notLeader()
		}
		<-p.done // the proposer answers all that it took before it ends
	}
	return p.results, p.err
}

// enqueue never blocks: the queue is bounded by its commands, and beyond the
// bound the answer is [sema.ErrOverloaded].
func (o *office) enqueue(p *proposal) error {
	for i := range p.commands {
		if err := o.fit(&p.commands[i]); err != nil {
			return err
		}
	}
	n := int64(len(p.commands))
	queued := o.queued.Add(n)
	if queued > int64(cap(o.queue)) {
		o.queued.Add(-n)
		o.refuse(n)
		return sema.ErrOverloaded
	}
	o.queue <- p // there is room
	if queued >= o.wakeAt.Load() {
		select {
		case o.enough <- struct{}{}:
		default:
		}
	}
	select {
	case <-o.ended: // perhaps nobody looks into the queue any more
		p.refuse(o.node.notLeader())
	default:
	}
	return nil
}
