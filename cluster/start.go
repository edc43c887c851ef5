package cluster

import (
	"context"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

var _ transport.Starter = backend{}

// Start implements [transport.Starter]: the proposer answers when the entry is
// committed, and a refusal from memory is answered at once. What would have to wait for
// something else is not begun.
func (b backend) Start(s *transport.Started) bool {
	o := b.office.Load()
	if o == nil {
		return false
	}
	c := fsm.Command{Name: s.Name, Token: s.Token, Attempt: s.Attempt}
	var invalid error
	switch s.Method {
	case transport.MethodAcquire:
		req := transport.AcquireRequest{Name: s.Name, Owner: s.Owner, Timeout: s.Timeout, Attempt: s.Attempt}
		if invalid = req.Validate(); invalid != nil {
			break
		}
		c = fsm.Command{Kind: fsm.Acquire, Name: s.Name, Owner: s.Owner, Timeout: s.Timeout, Attempt: s.Attempt, Account: (*fsm.Account)(s.Account)}
		if done, begun := b.refuse(o, s, &c); done {
			return begun
		}
	case transport.MethodTouch:
		c.Kind = fsm.Touch
		invalid = transport.TouchRequest{Name: s.Name, Token: s.Token, Attempt: s.Attempt}.Validate()
	case transport.MethodRelease:
		c.Kind = fsm.Release
		invalid = transport.ReleaseRequest{Name: s.Name, Token: s.Token, Attempt: s.Attempt}.Validate()
	default:
		return false
	}
	if invalid == nil && c.Kind != fsm.Acquire && o.disown(&c, s.Account) {
		return false // it is seldom, and has more to wait for
	}
	if invalid == nil {
		p := newStarted(s, c)
		o.node.tracer.queue(p, s.Span)
		s.Handle = p
		invalid = o.enqueue(p)
	}
	if invalid != nil {
		s.Err = invalid
		s.By.Answered()
	}
	return true
}

// refuse looks at the hold that an acquire meets, as Acquire does. done is true if it is
// not to be proposed: it was answered, or not begun.
func (b backend) refuse(o *office, s *transport.Started, c *fsm.Command) (done, begun bool) {
	view := b.machine.Look(s.Name)
	if !view.Held {
		return false, false
	}
	switch overdue := view.Deadline <= o.clock.now(); {
	case overdue && o.clock.mayExpire():
		c.Token, c.Deadline = view.Token, view.Deadline
	case s.Retry:
	case !o.lease.fresh():
		return true, false // the quorum has to be asked first
	default:
		s.Info = view.Info
		s.By.Answered()
		return true, true
	}
	return false, false
}

// Abandon implements [transport.Starter].
func (b backend) Abandon(s *transport.Started) {
	if p, ok := s.Handle.(*proposal); ok {
		p.refuse(context.Canceled)
	}
}
