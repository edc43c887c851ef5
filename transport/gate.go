package transport

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/transport/semav1"
)

// gate judges what enters at the client port, before anything else looks at it. nil: all
// may enter.
type gate struct {
	control        *access.Control
	insecureTokens bool
	stopping       context.Context
	wg             sync.WaitGroup // handlers of streams
}

func newGate(cfg ServerConfig, stopping context.Context) *gate {
	if cfg.Access == nil {
		return nil
	}
	return &gate{control: cfg.Access, insecureTokens: cfg.InsecureTokens, stopping: stopping}
}

// options are those of a server that has the gate.
func (g *gate) options() (unary, stream grpc.ServerOption) {
	if g == nil {
		return grpc.EmptyServerOption{}, grpc.EmptyServerOption{}
	}
	return grpc.ChainUnaryInterceptor(g.unary), grpc.ChainStreamInterceptor(g.stream)
}

// wait returns when no handler of a stream runs any more.
func (g *gate) wait() {
	if g != nil {
		g.wg.Wait()
	}
}

// unary is a [grpc.UnaryServerInterceptor].
func (g *gate) unary(ctx context.Context, m any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	need, known := needs[info.FullMethod]
	if known && need.scope == toAnyone {
		return handle(ctx, m)
	}
	c := g.caller(ctx)
	ctx = context.WithValue(ctx, callerKey{}, c)
	defer c.settle(ctx)
	touches, many := m.(*semav1.TouchAllRequest)
	var err error
	switch {
	case !known:
		err = c.may(info.FullMethod, 0, nobody)
	case need.scope == onNames && many:
		return c.touchAll(ctx, touches, handle)
	case need.scope == onNames: // and how to judge it, nobody knows
		err = c.may(info.FullMethod, 0, nobody)
	case need.scope == onPrefix:
		err = c.narrow(info.FullMethod, need.right, m)
	default:
		if err = c.may(info.FullMethod, 1, need.of(m)); err == nil {
			err = c.clientOf(info.FullMethod, m)
		}
	}
	if err != nil {
		return nil, ErrorToStatus(err)
	}
	resp, err := handle(withJudged(ctx, c.judged.account), m)
	if need.audit != "" {
		g.control.Audit(need.audit, c.name(), c.from, err, details(m, resp)...)
	}
	return resp, err
}

// nobody has the right to what is in no row.
func nobody(id *access.Identity) error {
	return &sema.DeniedError{Identity: id.Name(), Right: "to call a method that has no right yet"}
}

// of returns how to judge a request.
func (n need) of(m any) func(*access.Identity) error {
	return func(id *access.Identity) error {
		switch n.scope {
		case onName:
			if named, ok := m.(interface{ GetName() string }); ok {
				return id.May(n.right, named.GetName())
			}
		case onAnything:
			return id.MayAnywhere(n.right)
		case onCluster:
			return id.May(access.Admin, "")
		case onCalls:
			return nil
		}
		return nobody(id)
	}
}

// narrow sees to it that a list has only names that the caller may read.
func (c *caller) narrow(method string, right access.Right, m any) error {
	list, ok := m.(*semav1.ListRequest)
	if !ok {
		return c.may(method, 0, nobody)
	}
	var within []string
	err := c.may(method, 1, func(id *access.Identity) (denied error) {
		asked := list.GetWithin()
		if len(asked) == 0 {
			asked = []string{list.GetPrefix()}
		}
		for _, prefix := range asked[:min(len(asked), MaxWithin)] {
			allowed, err := id.Within(right, prefix)
			if err != nil {
				denied = err
			}
			within = append(within, allowed...)
		}
		if len(within) > 0 {
			return nil
		}
		return denied
	})
	switch {
	case err != nil:
		return err
	case validateWithin(list.GetWithin()) != nil:
		return validateWithin(list.GetWithin())
	}
	list.Within = within // in order, if what was asked was
	return nil
}

// touchAll has those holds touched that the caller may touch. Each is judged by itself: one
// that is not allowed any more must not cost the others their time.
func (c *caller) touchAll(ctx context.Context, m *semav1.TouchAllRequest, handle grpc.UnaryHandler) (any, error) {
	all := m.GetHolds()
	cost := 1 + len(all)/256 // about as many go into one entry
	if err := c.may(semav1.Sema_TouchAll_FullMethodName, cost, func(id *access.Identity) error { return nil }); err != nil {
		return nil, ErrorToStatus(err)
	}
	if n := len(all); n > MaxTouches { // before each is judged
		return nil, ErrorToStatus(tooManyTouches(n))
	}
	if err := c.clientOf(semav1.Sema_TouchAll_FullMethodName, m); err != nil {
		return nil, ErrorToStatus(err)
	}
	id := c.judged.id
	ctx = withJudged(ctx, c.judged.account)
	outcomes := make([]*semav1.TouchOutcome, len(all))
	allowed := &semav1.TouchAllRequest{Attempt: m.GetAttempt()}
	var places []int
	var denied error
	for i, h := range all {
		if err := id.May(access.Acquire, h.GetName()); err != nil {
			denied = err
		} else {
			allowed.Holds, places = append(allowed.Holds, h), append(places, i)
			continue
		}
		outcomes[i] = &semav1.TouchOutcome{Error: codeOf(denied)}
	}
	if denied != nil {
		c.control.Denied(c.name(), c.from, semav1.Sema_TouchAll_FullMethodName, denied)
	}
	if len(places) == len(all) {
		return handle(ctx, m)
	}
	if len(places) > 0 {
		resp, err := handle(ctx, allowed)
		if err != nil {
			return nil, err
		}
		touched, ok := resp.(*semav1.TouchAllResponse)
		if !ok || len(touched.GetOutcomes()) != len(places) {
			return nil, ErrorToStatus(&sema.OutcomeUnknownError{Cause: errTouched})
		}
		for i, place := range places {
			outcomes[place] = touched.GetOutcomes()[i]
		}
	}
	return &semav1.TouchAllResponse{Outcomes: outcomes}, nil
}

// details are what the audit log tells of a call.
func details(m, resp any) []any {
	switch m := m.(type) {
	case *semav1.ForceReleaseRequest:
		list := []any{"name", m.GetName(), "token", m.GetToken()}
		if r, ok := resp.(*semav1.ForceReleaseResponse); ok {
			list = append(list, "owner", r.GetInfo().GetOwner())
		}
		return list
	case *semav1.JoinRequest:
		return []any{"member", m.GetId(), "raft-addr", m.GetRaftAddr()}
	case *semav1.RemoveRequest:
		return []any{"member", m.GetId(), "force", m.GetForce()}
	case *semav1.TransferLeadershipRequest:
		if r, ok := resp.(*semav1.TransferLeadershipResponse); ok {
			return []any{"to", r.GetId()}
		}
		return []any{"to", m.GetId()}
	}
	return nil
}
