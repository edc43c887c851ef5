package cluster

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/sabotage"
	"github.com/semanode/sema/transport"
)

// backend is the node as the wire sees it: it implements [transport.Backend].
type backend struct{ *Node }

// Backend returns the node's service with tokens and attempts, for those who
// serve it over a wire of their own.
func (n *Node) Backend() transport.Backend { return backend{n} }

// leading returns the term of office that serves a call.
func (b backend) leading() (*office, error) {
	if o := b.office.Load(); o != nil {
		return o, nil
	}
	select {
	case <-b.done:
		return nil, b.endError()
	default:
		return nil, b.notLeader()
	}
}

// Acquire decides from the leader's memory only that somebody else holds, and
// proposes everything else. Of an overdue hold it proposes the end, as seen.
func (b backend) Acquire(ctx context.Context, req transport.AcquireRequest) (sema.Info, error) {
	if err := req.Validate(); err != nil {
		return sema.Info{}, err
	}
	o, err := b.leading()
	if err != nil {
		return sema.Info{}, err
	}
	command := fsm.Command{Kind: fsm.Acquire, Name: req.Name, Owner: req.Owner, Timeout: req.Timeout, Attempt: req.Attempt, Account: (*fsm.Account)(req.Account)}
	if view := b.machine.Look(req.Name); view.Held {
		switch overdue := view.Deadline <= o.clock.now(); {
		case overdue && o.clock.mayExpire():
			command.Token, command.Deadline = view.Token, view.Deadline
		case !req.Retry && o.lease.hold(ctx, b.Node):
			return view.Info, nil
		}
	}
	r, err := o.submit(ctx, command)
	return r.Info, err
}

// Touch implements [transport.Backend].
func (b backend) Touch(ctx context.Context, req transport.TouchRequest) (sema.Info, error) {
	r, err := b.proposeOwn(ctx, req.Validate(), fsm.Command{Kind: fsm.Touch, Name: req.Name, Token: req.Token, Attempt: req.Attempt}, req.Account)
	return r.Info, err
}

// touchesAhead is how many proposals of one TouchAll are under way or in the queue at
// once. With more, a client that has many locks would hold up all others by as many
// entries as it takes to touch them; with these, by one.
const touchesAhead = maxProposed / maxTogether

// TouchAll implements [transport.Backend].
func (b backend) TouchAll(ctx context.Context, req transport.TouchAllRequest) ([]transport.TouchOutcome, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	o, err := b.leading()
	if err != nil {
		return nil, err
	}
	outcomes := make([]transport.TouchOutcome, 0, len(req.Holds))
	proposals, deposed := 0, 0
	answer := func(p *proposal) {
		results, err := o.answerTo(ctx, p)
		if errors.Is(err, sema.ErrNotLeader) && !errors.Is(err, sema.ErrOutcomeUnknown) {
			deposed++
		}
		for i := range p.commands {
			outcome := transport.TouchOutcome{Err: err}
			if err == nil {
				outcome = transport.TouchOutcome{ExpiresAt: results[i].Info.ExpiresAt, Err: results[i].Err}
			}
			outcomes = append(outcomes, outcome)
		}
	}
	var ahead []*proposal
	var disowned []bool // one for each of those that were proposed
	for holds := range slices.Chunk(req.Holds, maxTogether) {
		if len(ahead) == touchesAhead {
			answer(ahead[0])
			ahead = ahead[1:]
		}
		p := newProposal(o.touches(holds, &req, &disowned)...)
		if err := ctx.Err(); err != nil {
			p.answer(nil, context.Cause(ctx)) // nobody waits for the others
		} else if err := o.enqueue(p); err != nil {
			p.answer(nil, err) // refused; the others may have found room
		}
		ahead = append(ahead, p)
		proposals++
	}
	for _, p := range ahead {
		answer(p)
	}
	if deposed == proposals && deposed > 0 { // none of it was done: another node may do it
		return nil, b.notLeader()
	}
	if slices.Contains(disowned, true) {
		err := o.stillIn()
		for i := range outcomes {
			if err != nil && disowned[i] {
				outcomes[i] = transport.TouchOutcome{Err: err}
			}
		}
	}
	return outcomes, nil
}

// touches are the commands for these holds of a TouchAll. disowned is told which of them
// were; it is not if nobody has an account.
func (o *office) touches(holds []transport.HoldID, req *transport.TouchAllRequest, disowned *[]bool) []fsm.Command {
	commands := make([]fsm.Command, len(holds))
	for i, h := range holds {
		commands[i] = fsm.Command{Kind: fsm.Touch, Name: h.Name, Token: h.Token, Attempt: req.Attempt}
		if req.Account != nil {
			*disowned = append(*disowned, o.disown(&commands[i], req.Account))
		}
	}
	return commands
}

// Release implements [transport.Backend].
func (b backend) Release(ctx context.Context, req transport.ReleaseRequest) (released bool, err error) {
	r, err := b.proposeOwn(ctx, req.Validate(), fsm.Command{Kind: fsm.Release, Name: req.Name, Token: req.Token, Attempt: req.Attempt}, req.Account)
	return r.Ended != 0, err
}

// ForceRelease implements [transport.Backend].
func (b backend) ForceRelease(ctx context.Context, req transport.ForceReleaseRequest) (sema.Info, error) {
	info, err := b.proposeInfo(ctx, req.Validate(), fsm.Command{Kind: fsm.ForceRelease, Name: req.Name, Token: req.Token})
	if err == nil {
		b.log.Info("hold ended by force", "name", info.Name, "owner", info.Owner, "token", info.Token)
	}
	return info, err
}

// Get implements [transport.Backend].
func (b backend) Get(ctx context.Context, req transport.GetRequest) (transport.GetResult, error) {
	if err := req.Validate(); err != nil {
		return transport.GetResult{}, err
	}
	if !req.Stale && !sabotage.On(sabotage.StaleReads) {
		info, err := b.proposeInfo(ctx, nil, fsm.Command{Kind: fsm.Query, Name: req.Name})
		if err != nil || req.Line == 0 {
			return transport.GetResult{Info: info}, b.readError(ctx, err)
		}
	}
	info, line, held := b.machine.Show(req.Name, req.Line)
	if !held {
		return transport.GetResult{}, sema.ErrNotFound
	}
	return transport.GetResult{Info: info, Line: line}, nil
}

// List reads this node's state after an entry of its own was applied: so it has
// seen everything that was decided before the call. So does Get with a line.
func (b backend) List(ctx context.Context, req transport.ListRequest) (transport.ListResult, error) {
	if err := req.Validate(); err != nil {
		return transport.ListResult{}, err
	}
	if !req.Stale {
		// What is asked is of no matter: that the entry was applied is what counts.
		if _, err := b.propose(ctx, nil, fsm.Command{Kind: fsm.Query}); !errors.Is(err, sema.ErrNotFound) {
			return transport.ListResult{}, b.readError(ctx, err)
		}
	}
	limit := req.Limit
	if limit == 0 {
		limit = transport.DefaultPageSize
	}
	if len(req.Within) > 0 {
		return b.listWithin(req, limit), nil
	}
	read := b.machine.List(req.Prefix, req.After, limit, req.Line)
	page := transport.ListResult{Infos: read.Infos, Lines: read.Lines}
	if read.More {
		page.Next = read.Infos[len(read.Infos)-1].Name
	}
	return page, nil
}

// listWithin is a page of those names that start with the request's prefix and with one of
// Within too. What lies between these is not looked at: how long it takes tells nothing
// of it.
func (b backend) listWithin(req transport.ListRequest, limit int) (page transport.ListResult) {
	for _, prefix := range req.Within {
		if !strings.HasPrefix(prefix, req.Prefix) {
			if !strings.HasPrefix(req.Prefix, prefix) {
				continue
			}
			prefix = req.Prefix
		}
		read := b.machine.List(prefix, req.After, max(limit, 1), req.Line) // with a full page: are there more?
		if limit <= 0 {
			if len(read.Infos) == 0 {
				continue
			}
			page.Next = page.Infos[len(page.Infos)-1].Name
			return page
		}
		page.Infos = append(page.Infos, read.Infos...)
		limit -= len(read.Infos)
		for name, line := range read.Lines {
			if page.Lines == nil {
				page.Lines = map[string][]sema.Ticket{}
			}
			page.Lines[name] = line
			limit -= len(line)
		}
		if read.More {
			page.Next = page.Infos[len(page.Infos)-1].Name
			return page
		}
	}
	return page
}

// readError is the error of a call that changes nothing: whatever happened to its
// entry, the outcome is known.
func (b backend) readError(ctx context.Context, err error) error {
	switch {
	case !errors.Is(err, sema.ErrOutcomeUnknown):
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return b.notLeader()
}

func (b backend) proposeInfo(ctx context.Context, invalid error, c fsm.Command) (sema.Info, error) {
	r, err := b.propose(ctx, invalid, c)
	return r.Info, err
}

// propose has a command decided by the log.
func (b backend) propose(ctx context.Context, invalid error, c fsm.Command) (fsm.Result, error) {
	if invalid != nil {
		return fsm.Result{}, invalid
	}
	o, err := b.leading()
	if err != nil {
		return fsm.Result{}, err
	}
	return o.submit(ctx, c)
}

// proposeOwn is propose of a touch or a release, which somebody with an account may do to
// own holds only, see [office.disown].
func (b backend) proposeOwn(ctx context.Context, invalid error, c fsm.Command, by *transport.Account) (fsm.Result, error) {
	if invalid != nil {
		return fsm.Result{}, invalid
	}
	o, err := b.leading()
	if err != nil {
		return fsm.Result{}, err
	}
	disowned := o.disown(&c, by)
	r, err := o.submit(ctx, c)
	if disowned {
		if err := o.stillIn(); err != nil {
			return fsm.Result{}, err
		}
	}
	return r, err
}
