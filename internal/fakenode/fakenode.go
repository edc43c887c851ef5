// Package fakenode is a node in memory, for tests: a [transport.Backend] that
// keeps the contract and lines without a log, a clock or peers, and does what a test tells
// it to on the way.
package fakenode

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// Intercept stands between a request and the node. req is one of transport's
// request types; apply carries it out and returns its error. An Intercept that
// does not call apply keeps the request from having any effect; one that calls it
// and returns another error loses the answer.
type Intercept func(ctx context.Context, req any, apply func() error) error

// Node is the fake. Its zero value is ready to use. No hold ends by itself.
type Node struct {
	mu        sync.Mutex
	intercept Intercept
	requests  []any
	holds     map[string]held
	lines     map[string][]*ticket
	lastToken uint64
	clients   map[sema.ClientID]*client
}

var _ transport.Backend = (*Node)(nil)

type held struct {
	info    sema.Info
	attempt sema.Attempt
}

// client is what the node remembers of one client.
type client struct {
	lowestOpen uint64
	decided    map[uint64]sema.Info // by Seq
}

// Intercept sets what happens to requests from now on; nil lets them pass.
func (n *Node) Intercept(by Intercept) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.intercept = by
}

// Requests returns all requests so far, in the order in which they came.
func (n *Node) Requests() []any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.requests)
}

// Holder returns the hold that stands under this name, the zero Info if none.
func (n *Node) Holder(name string) sema.Info {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.holds[name].info
}

// End ends the hold under this name behind its owner's back.
func (n *Node) End(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.free(name)
}

// serve runs one request through the intercept.
func (n *Node) serve(ctx context.Context, req any, do func() error) error {
	n.mu.Lock()
	n.requests = append(n.requests, req)
	intercept := n.intercept
	n.mu.Unlock()
	apply := func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.holds == nil {
			n.holds, n.clients = map[string]held{}, map[sema.ClientID]*client{}
			n.lines = map[string][]*ticket{}
		}
		return do()
	}
	if intercept == nil {
		return apply()
	}
	return intercept(ctx, req, apply)
}

// Acquire implements [transport.Backend].
func (n *Node) Acquire(ctx context.Context, req transport.AcquireRequest) (info sema.Info, err error) {
	err = n.serve(ctx, req, func() error {
		info, err = n.acquire(req)
		return err
	})
	return info, err
}

func (n *Node) acquire(req transport.AcquireRequest) (sema.Info, error) {
	c := n.heard(req.Attempt)
	if c != nil {
		switch before, decided := c.decided[req.Attempt.Seq]; {
		case req.Attempt.Seq < c.lowestOpen:
			return sema.Info{}, sema.ErrAttemptFinished
		case decided && before.Status == sema.Acquired && n.holds[req.Name].info.Token != before.Token:
			return sema.Info{}, sema.ErrAttemptFinished
		case decided:
			return before, nil
		}
	}
	info := n.decide(req)
	if c != nil {
		c.decided[req.Attempt.Seq] = info
	}
	return info, nil
}

func (n *Node) decide(req transport.AcquireRequest) sema.Info {
	if _, taken := n.holds[req.Name]; taken {
		return n.holder(req.Name)
	}
	n.lastToken++
	now := time.Now().UTC()
	info := sema.Info{Status: sema.Acquired, Name: req.Name, Owner: req.Owner, Timeout: req.Timeout, Token: n.lastToken,
		CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(req.Timeout)}
	n.holds[req.Name] = held{info, req.Attempt}
	return info
}

// heard returns the record of a client, nil for none.
func (n *Node) heard(a sema.Attempt) *client {
	if a.Client.IsZero() {
		return nil
	}
	c := n.clients[a.Client]
	if c == nil {
		c = &client{decided: map[uint64]sema.Info{}}
		n.clients[a.Client] = c
	}
	c.lowestOpen = max(c.lowestOpen, a.LowestOpen)
	return c
}

// Touch implements [transport.Backend].
func (n *Node) Touch(ctx context.Context, req transport.TouchRequest) (info sema.Info, err error) {
	err = n.serve(ctx, req, func() error {
		n.heard(req.Attempt)
		info, err = n.touch(req.Name, req.Token)
		return err
	})
	return info, err
}

func (n *Node) touch(name string, token uint64) (sema.Info, error) {
	h, taken := n.holds[name]
	if !taken || h.info.Token != token {
		return sema.Info{}, sema.ErrNotHeld
	}
	h.info.UpdatedAt = time.Now().UTC()
	h.info.ExpiresAt = h.info.UpdatedAt.Add(h.info.Timeout)
	n.holds[name] = h
	return h.info, nil
}

// Release implements [transport.Backend].
func (n *Node) Release(ctx context.Context, req transport.ReleaseRequest) (released bool, err error) {
	err = n.serve(ctx, req, func() error {
		c := n.heard(req.Attempt)
		h, taken := n.holds[req.Name]
		switch {
		case req.Token == 0 && req.Attempt.Seq != 0:
			if _, decided := c.decided[req.Attempt.Seq]; !decided {
				c.decided[req.Attempt.Seq] = sema.Info{Status: sema.ReleasedInTheMeanTime, Name: req.Name}
			}
			n.cancel(req.Name, req.Attempt)
			released = taken && h.attempt.Client == req.Attempt.Client && h.attempt.Seq == req.Attempt.Seq
		case taken && h.info.Token != req.Token:
			return sema.ErrNotHeld
		default:
			released = taken
		}
		if released {
			n.free(req.Name)
		}
		return nil
	})
	return released, err
}

// ForceRelease implements [transport.Backend].
func (n *Node) ForceRelease(ctx context.Context, req transport.ForceReleaseRequest) (info sema.Info, err error) {
	err = n.serve(ctx, req, func() error {
		h, taken := n.holds[req.Name]
		switch {
		case !taken:
			return sema.ErrNotFound
		case h.info.Token != req.Token:
			return sema.ErrNotHeld
		}
		n.free(req.Name)
		info = h.info
		info.Status = sema.ForcedReleased
		return nil
	})
	return info, err
}

// Get implements [transport.Backend].
func (n *Node) Get(ctx context.Context, req transport.GetRequest) (got transport.GetResult, err error) {
	err = n.serve(ctx, req, func() error {
		if _, taken := n.holds[req.Name]; !taken {
			return sema.ErrNotFound
		}
		got = transport.GetResult{Info: n.holder(req.Name), Line: n.first(req.Name, req.Line)}
		return nil
	})
	return got, err
}

// List implements [transport.Backend].
func (n *Node) List(ctx context.Context, req transport.ListRequest) (page transport.ListResult, err error) {
	err = n.serve(ctx, req, func() error {
		limit := req.Limit
		if limit == 0 {
			limit = transport.DefaultPageSize
		}
		var names []string
		for name := range n.holds {
			if strings.HasPrefix(name, req.Prefix) && name > req.After {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		if len(names) > limit {
			names = names[:limit]
			page.Next = names[limit-1]
		}
		for _, name := range names {
			info := n.holds[name].info
			info.Waiting = len(n.lines[name])
			page.Infos = append(page.Infos, info)
			if line := n.first(name, req.Line); len(line) > 0 {
				if page.Lines == nil {
					page.Lines = map[string][]sema.Ticket{}
				}
				page.Lines[name] = line
			}
		}
		return nil
	})
	return page, err
}

// Status implements [transport.Backend].
func (n *Node) Status(ctx context.Context, req transport.StatusRequest) (st transport.ClusterStatus, err error) {
	err = n.serve(ctx, req, func() error {
		st = transport.ClusterStatus{ClusterID: "fake", Nodes: []transport.NodeStatus{{ID: "fake", State: "leader", Leader: true}}}
		return nil
	})
	return st, err
}

// Join implements [transport.Membership]: it is said to be done.
func (n *Node) Join(ctx context.Context, req transport.JoinRequest) (index uint64, err error) {
	return 1, n.serve(ctx, req, func() error { return nil })
}

// Member implements [transport.Membership]: whoever is asked for is one.
func (n *Node) Member(ctx context.Context, id string) (name string, err error) {
	return id, n.serve(ctx, id, func() error { return nil })
}

// Remove implements [transport.Membership]: it is said to be done.
func (n *Node) Remove(ctx context.Context, req transport.RemoveRequest) error {
	return n.serve(ctx, req, func() error { return nil })
}

// TransferLeadership implements [transport.Membership]: it is said to be done.
func (n *Node) TransferLeadership(ctx context.Context, id string) (leader string, err error) {
	return id, n.serve(ctx, id, func() error { return nil })
}

// ErrLost is what an [Intercept] returns that loses answers.
var ErrLost = &sema.OutcomeUnknownError{Cause: errors.New("the answer was lost")}
