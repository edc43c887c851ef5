package testcluster

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// calls is what happens to the calls of one client between it and the cluster.
type calls struct {
	reset func() // breaks the client's connections

	mu    sync.Mutex
	rng   *rand.Rand
	harms []*callHarm // in force

	ctx    context.Context // of copies that come late
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// callHarm is one thing that happens to calls, with a probability.
type callHarm struct {
	kind   harmKind
	chance float64
	upTo   time.Duration // how late
	bitten atomic.Int64
}

type harmKind int

const (
	// cutAnswer breaks the connection after the cluster has decided, before the
	// client has heard of it.
	cutAnswer harmKind = iota
	// duplicateCall lets a copy of a call that was answered arrive again, later.
	duplicateCall
	// delayCall lets a call leave late, so that others overtake it.
	delayCall
)

func newCalls(seed uint64, reset func()) *calls {
	c := &calls{reset: reset, rng: rand.New(rand.NewPCG(seed, 2))}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// close ends the copies under way and waits.
func (c *calls) close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.wg.Wait()
}

// impose puts a harm in force and returns what lifts it.
func (c *calls) impose(h *callHarm) (lift func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.harms = append(c.harms, h)
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, other := range c.harms {
			if other == h {
				c.harms = append(c.harms[:i:i], c.harms[i+1:]...)
			}
		}
	})
}

// strikes reports whether a harm of this kind befalls a call now, and how late.
func (c *calls) strikes(kind harmKind) (late time.Duration, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.harms {
		if h.kind == kind && c.rng.Float64() < h.chance {
			h.bitten.Add(1)
			if h.upTo > 0 {
				late = time.Duration(c.rng.Int64N(int64(h.upTo)))
			}
			return late, true
		}
	}
	return 0, false
}

// leave holds up a call that is to leave late.
func (c *calls) leave(ctx context.Context) error {
	late, yes := c.strikes(delayCall)
	if !yes {
		return nil
	}
	select {
	case <-time.After(late):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// errAnswerLost is what gRPC says when a connection breaks before the answer.
var errAnswerLost = status.Error(codes.Unavailable, "the connection was cut before the answer")

// unary is a [grpc.UnaryClientInterceptor].
func (c *calls) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if ctx.Value(copyKey{}) != nil {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	if err := c.leave(ctx); err != nil {
		return err
	}
	if err := invoke(ctx, method, req, reply, cc, opts...); err != nil {
		return err
	}
	if !refused(reply) {
		if late, yes := c.strikes(duplicateCall); yes {
			copied, answer := proto.Clone(req.(proto.Message)), reply.(proto.Message).ProtoReflect().New().Interface()
			c.later(ctx, late, func(ctx context.Context) { _ = invoke(ctx, method, copied, answer, cc) }) // nobody waits for it
		}
	}
	if decides(method) {
		if _, yes := c.strikes(cutAnswer); yes {
			c.reset()
			return errAnswerLost
		}
	}
	return nil
}

// refused reports whether an answer is a refusal, which may come from the memory of
// the leader and leave no trace: a copy that the client itself did not send would be
// decided anew, see the README on what is not promised.
func refused(reply any) bool {
	acquired, ok := reply.(*semav1.AcquireResponse)
	return ok && acquired.GetInfo().GetStatus() == semav1.Status(sema.OwnedBySomeoneElse)
}

// decides reports whether a call changes something.
func decides(method string) bool {
	switch method {
	case semav1.Sema_Acquire_FullMethodName, semav1.Sema_Touch_FullMethodName, semav1.Sema_TouchAll_FullMethodName,
		semav1.Sema_Release_FullMethodName, semav1.Sema_ForceRelease_FullMethodName:
		return true
	}
	return false
}

// lateCall bounds how long a copy that came late may take.
const lateCall = 5 * time.Second

// later carries out a copy of a call, with what it said of itself.
func (c *calls) later(ctx context.Context, late time.Duration, call func(context.Context)) {
	md, _ := metadata.FromOutgoingContext(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return // close is waiting for those before
	}
	c.wg.Go(func() {
		select {
		case <-time.After(late):
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(c.ctx, md), lateCall)
		defer cancel()
		call(ctx)
	})
}

// after does something later, unless ctx ends or the client is closed first.
func (c *calls) after(ctx context.Context, late time.Duration, do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	c.wg.Go(func() {
		select {
		case <-time.After(late):
			do()
		case <-ctx.Done():
		case <-c.ctx.Done():
		}
	})
}

// stream is a [grpc.StreamClientInterceptor].
func (c *calls) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if ctx.Value(copyKey{}) != nil {
		return open(ctx, desc, cc, method, opts...)
	}
	if method == semav1.Sema_Exchange_FullMethodName {
		inner, err := open(ctx, desc, cc, method, opts...)
		if err != nil {
			return nil, err
		}
		return newExchange(inner, c, cc), nil
	}
	if err := c.leave(ctx); err != nil {
		return nil, err
	}
	inner, err := open(ctx, desc, cc, method, opts...)
	if err != nil || method != semav1.Sema_Wait_FullMethodName {
		return inner, err
	}
	again := func(ctx context.Context, req any) {
		copied, err := open(ctx, desc, cc, method)
		if err != nil || copied.SendMsg(req) != nil || copied.CloseSend() != nil {
			return
		}
		for copied.RecvMsg(new(semav1.WaitResponse)) == nil { // until it ends, with ctx at the latest
		}
	}
	return &waitStream{ClientStream: inner, calls: c, again: again}, nil
}

// waitStream is a call that waits in line.
type waitStream struct {
	grpc.ClientStream
	calls *calls
	again func(ctx context.Context, req any)
	req   proto.Message
}

// SendMsg implements [grpc.ClientStream].
func (s *waitStream) SendMsg(m any) error {
	s.req = proto.Clone(m.(proto.Message))
	return s.ClientStream.SendMsg(m)
}

// RecvMsg implements [grpc.ClientStream].
func (s *waitStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	granted := m.(*semav1.WaitResponse).GetInfo().GetStatus() == semav1.Status(sema.Acquired)
	if !granted {
		return nil
	}
	if late, yes := s.calls.strikes(duplicateCall); yes {
		s.calls.later(s.Context(), late, func(ctx context.Context) { s.again(ctx, s.req) })
	}
	if _, yes := s.calls.strikes(cutAnswer); yes {
		s.calls.reset()
		return errAnswerLost
	}
	return nil
}
