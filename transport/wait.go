package transport

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// Wait implements semav1.SemaServer.
func (h *handler) Wait(m *semav1.WaitRequest, stream grpc.ServerStreamingServer[semav1.WaitResponse]) error {
	return h.wait(stream.Context(), m, stream.Send)
}

// wait is a call like any other that may send something on the way to its
// answer. A slow reader holds up nobody but itself. It ends when the server stops,
// so that its client takes its place to another node.
func (h *handler) wait(ctx context.Context, m *semav1.WaitRequest, send func(*semav1.WaitResponse) error) error {
	ctx, cancel := untilDeadline(ctx)
	defer cancel()
	defer context.AfterFunc(h.stopping, cancel)()
	defer whileAllowed(ctx, m.GetName(), cancel)()
	resp, err := serve(ctx, h, m, h.waitElsewhere(send), func() (*semav1.WaitResponse, error) {
		attempt, err := attemptFromWire(m.GetAttempt())
		if err != nil {
			return nil, err
		}
		req := AcquireRequest{Name: m.GetName(), Owner: m.GetOwner(), Timeout: m.GetTimeout().AsDuration(), Attempt: attempt,
			Retry: m.GetAttempt().GetRetry(), Positions: m.GetPositions(), Account: h.account(ctx)}
		if err := req.ValidateWait(); err != nil {
			return nil, err
		}
		info, err := h.backend.Wait(ctx, req, func(p sema.Place) {
			if send(&semav1.WaitResponse{Position: uint32(p.Position), Holder: InfoToWire(p.Holder)}) != nil {
				cancel() // there is nobody to wait for
			}
		})
		return &semav1.WaitResponse{Info: InfoToWire(info)}, err
	})
	if err != nil {
		return err
	}
	return send(resp)
}

// sameMoment is how far a caller's deadline and the news that it has gone may lie
// apart to be the same thing.
const sameMoment = 100 * time.Millisecond

// untilDeadline is a context for a call that ends with ctx. A caller whose time is
// up hangs up at the same moment, and which of the two is seen here first is
// chance: then the context ends with the deadline, which says that nobody will come
// back.
func untilDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	call, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	stop := context.AfterFunc(ctx, func() {
		if time.Until(deadline) > sameMoment {
			cancel()
		}
	})
	return call, func() { stop(); cancel() }
}

// waitElsewhere is the call that waits at the leader and passes on what comes on
// the way. It ends when there is another leader: the one that was asked may be
// stopped, or cut off, and never say so.
func (h *handler) waitElsewhere(send func(*semav1.WaitResponse) error) remote[semav1.WaitRequest, semav1.WaitResponse] {
	return func(peer semav1.SemaClient, ctx context.Context, m *semav1.WaitRequest, opts ...grpc.CallOption) (*semav1.WaitResponse, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if leader, ok := askedLeader(ctx); ok && h.leaders != nil {
			go func() { // ends with ctx
				if _, err := h.leaders.AwaitLeader(ctx, leader); err == nil {
					cancel()
				}
			}()
		}
		return ReceiveWait(peer, ctx, m, send, opts...)
	}
}

// ReceiveWait calls Wait and returns its answer. What comes before goes to told.
func ReceiveWait(c semav1.SemaClient, ctx context.Context, m *semav1.WaitRequest, told func(*semav1.WaitResponse) error, opts ...grpc.CallOption) (*semav1.WaitResponse, error) {
	ctx, cancel := context.WithCancel(ctx) // a stream that is not read to its end must be cancelled
	defer cancel()
	stream, err := c.Wait(ctx, m, opts...)
	if err != nil {
		return nil, err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if resp.GetInfo() != nil {
			return resp, nil
		}
		if err := told(resp); err != nil {
			return nil, err
		}
	}
}

type leaderKey struct{}

// withAskedLeader notes in ctx which leader a call is passed on to.
func withAskedLeader(ctx context.Context, leader sema.Leader) context.Context {
	return context.WithValue(ctx, leaderKey{}, leader)
}

func askedLeader(ctx context.Context) (sema.Leader, bool) {
	leader, ok := ctx.Value(leaderKey{}).(sema.Leader)
	return leader, ok
}
