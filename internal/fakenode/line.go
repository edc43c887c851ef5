package fakenode

import (
	"context"
	"slices"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// Wait is the request of a wait, as an [Intercept] and Requests see it. Apply
// answers it or takes a ticket; the waiting itself comes after the Intercept.
type Wait struct{ transport.AcquireRequest }

// ticket is a place in a line.
type ticket struct {
	req     transport.AcquireRequest
	since   time.Time
	granted chan sema.Info  // has room for one
	moved   chan sema.Place // has room for the latest; nil if nobody asked
}

// Line returns the owners that wait under this name, in order.
func (n *Node) Line(name string) (owners []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range n.lines[name] {
		owners = append(owners, t.req.Owner)
	}
	return owners
}

// Wait implements [transport.Backend]. A ticket whose call ends stays in line
// until it is released by its attempt.
func (n *Node) Wait(ctx context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	var info sema.Info
	var mine *ticket
	var place sema.Place
	err := n.serve(ctx, Wait{req}, func() (err error) {
		if mine = n.ticketOf(req); mine != nil {
			return nil
		}
		info, err = n.acquire(req)
		if err == nil && info.Status == sema.OwnedBySomeoneElse {
			delete(n.clients[req.Attempt.Client].decided, req.Attempt.Seq)
			mine = &ticket{req: req, since: time.Now().UTC(), granted: make(chan sema.Info, 1)}
			if req.Positions {
				mine.moved = make(chan sema.Place, 1)
			}
			n.lines[req.Name] = append(n.lines[req.Name], mine)
			place = sema.Place{Position: len(n.lines[req.Name]), Holder: n.holder(req.Name)}
		}
		return err
	})
	if err != nil || mine == nil {
		return info, err
	}
	if told != nil && place.Position != 0 {
		told(place)
	}
	for {
		select {
		case info := <-mine.granted:
			return info, nil
		case place := <-mine.moved:
			if told != nil {
				told(place)
			}
		case <-ctx.Done():
			return sema.Info{}, &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
		}
	}
}

// holder is the hold that stands before the line of this name, as others see it.
// n.mu is held.
func (n *Node) holder(name string) sema.Info {
	info := n.holds[name].info
	info.Status, info.Waiting = sema.OwnedBySomeoneElse, len(n.lines[name])
	return info
}

// first returns the first in the line of this name, at most so many. n.mu is held.
func (n *Node) first(name string, most int) (line []sema.Ticket) {
	for i, t := range n.lines[name][:min(most, len(n.lines[name]))] {
		line = append(line, sema.Ticket{Position: i + 1, Owner: t.req.Owner, Since: t.since})
	}
	return line
}

// tellLine tells those who asked for it where they stand now. n.mu is held.
func (n *Node) tellLine(name string) {
	for i, t := range n.lines[name] {
		if t.moved == nil {
			continue
		}
		select {
		case <-t.moved: // only the latest counts
		default:
		}
		t.moved <- sema.Place{Position: i + 1, Holder: n.holder(name)}
	}
}

// ticketOf returns the ticket of the request's attempt. n.mu is held.
func (n *Node) ticketOf(req transport.AcquireRequest) *ticket {
	for _, t := range n.lines[req.Name] {
		if t.req.Attempt.Client == req.Attempt.Client && t.req.Attempt.Seq == req.Attempt.Seq {
			return t
		}
	}
	return nil
}

// free ends the hold under this name and serves the head of the line. n.mu is
// held.
func (n *Node) free(name string) {
	delete(n.holds, name)
	line := n.lines[name]
	if len(line) == 0 {
		return
	}
	n.lines[name] = line[1:]
	info, _ := n.acquire(line[0].req)
	line[0].granted <- info
	n.tellLine(name)
}

// cancel takes the ticket of an attempt out of its line. n.mu is held.
func (n *Node) cancel(name string, a sema.Attempt) {
	n.lines[name] = slices.DeleteFunc(n.lines[name], func(t *ticket) bool {
		return t.req.Attempt.Client == a.Client && t.req.Attempt.Seq == a.Seq
	})
	n.tellLine(name)
}

// TouchAll implements [transport.Backend].
func (n *Node) TouchAll(ctx context.Context, req transport.TouchAllRequest) (outcomes []transport.TouchOutcome, err error) {
	err = n.serve(ctx, req, func() error {
		for _, h := range req.Holds {
			info, err := n.touch(h.Name, h.Token)
			outcomes = append(outcomes, transport.TouchOutcome{ExpiresAt: info.ExpiresAt, Err: err})
		}
		return nil
	})
	return outcomes, err
}
