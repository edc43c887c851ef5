package transport

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/semanode/sema/access"
)

var errTouched = errors.New("the answer is not one for each hold")

// stream is a [grpc.StreamServerInterceptor]. A stream whose caller is known no more, or
// has lost the right that it began with, is ended when the rules change; what it carries
// is judged by the rules of the moment anyway.
func (g *gate) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	need, inTable := needs[info.FullMethod]
	if inTable && need.scope == toAnyone {
		return handle(srv, stream)
	}
	c := g.caller(stream.Context())
	still := need.of(nil)
	cost := 1
	switch {
	case !inTable, need.scope == onNames, need.scope == onPrefix:
		still = nobody
	case need.scope == onName: // when it is known
		still = func(*access.Identity) error { return nil }
		cost = 0
	case need.scope == onCalls:
		cost = 0 // its calls have theirs
	}
	if err := c.may(info.FullMethod, cost, still); err != nil {
		c.settle(stream.Context())
		return ErrorToStatus(err)
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(stream.Context(), callerKey{}, c))
	defer cancel(nil)
	defer g.control.OnChange(func() {
		if err := c.stillMay(still); err != nil {
			cancel(err)
		}
	})()
	if err := c.stillMay(still); err != nil { // since it was asked
		c.control.Denied(c.name(), c.from, info.FullMethod, err)
		return ErrorToStatus(err)
	}
	ended := make(chan error, 1)
	g.wg.Go(func() {
		ended <- handle(srv, &judgedStream{ServerStream: stream, ctx: ctx, caller: c, need: need, method: info.FullMethod})
	})
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		select {
		case err = <-ended:
		default:
			err = context.Cause(ctx)
			if stream.Context().Err() != nil { // the client has gone
				err = <-ended
			} else { // a handler that reads learns of it when its stream is gone
				c.control.Denied(c.name(), c.from, info.FullMethod, err)
			}
		}
	}
	if need.audit != "" {
		g.control.Audit(need.audit, c.name(), c.from, err)
	}
	return ErrorToStatus(err)
}

// judgedStream judges each request of a stream that names something.
type judgedStream struct {
	grpc.ServerStream
	ctx    context.Context
	caller *caller
	need   need
	method string
}

// Context implements [grpc.ServerStream].
func (s *judgedStream) Context() context.Context { return s.ctx }

// RecvMsg implements [grpc.ServerStream].
func (s *judgedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil || s.need.scope != onName {
		return err
	}
	defer s.caller.settle(s.ctx)
	err := s.caller.may(s.method, 1, s.need.of(m))
	if err == nil {
		err = s.caller.clientOf(s.method, m)
	}
	if err != nil {
		return ErrorToStatus(err)
	}
	s.ctx = withJudged(s.ctx, s.caller.judged.account)
	return nil
}

// stillMay is nil if the caller is known by the rules of the moment, and they allow this.
func (c *caller) stillMay(still func(*access.Identity) error) error {
	k := c.known()
	if k.err != nil {
		return k.err
	}
	return still(k.id)
}

// whileAllowed calls cancel when a call that waits on this name is not allowed any more:
// who has lost the right must not be granted anything later. stop ends that.
func whileAllowed(ctx context.Context, name string, cancel func()) (stop func()) {
	c := callerOf(ctx)
	if c == nil {
		return func() {}
	}
	check := func() {
		if k := c.known(); k.err != nil || k.id.May(access.Acquire, name) != nil {
			cancel()
		}
	}
	stop = c.control.OnChange(check)
	check() // the rules may have changed since they were asked
	return stop
}
