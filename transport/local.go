package transport

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema/transport/semav1"
)

// Local is a [Server]'s service for callers in the same process: the same calls,
// passed on to the leader in the same way, without a connection and without
// encoding what is decided here. Its call options are ignored.
type Local struct {
	handler *handler
	calls   *Calls // nil: not counted
	stop    context.CancelFunc
}

var _ semav1.SemaClient = (*Local)(nil)

// NewLocal returns the service that cfg describes; TLS is of no matter to it.
func NewLocal(cfg ServerConfig) *Local {
	stopping, stop := context.WithCancel(context.Background())
	return &Local{handler: newHandler(cfg, stopping), calls: cfg.Calls, stop: stop}
}

// Stop ends what waits, for a leader or in line, now and later.
func (l *Local) Stop() { l.stop() }

// inProcess is ctx without the gRPC call that it may belong to: the caller may be a
// handler of a server of its own, whose metadata is not meant for this call, and
// whose answer is not this call's. hint, unless nil, learns where the leader is.
func inProcess(ctx context.Context, hint *leaderHint) context.Context {
	if s, ok := grpc.ServerTransportStreamFromContext(ctx).(*leaderHint); ok && hint == nil && s != nil {
		return ctx // it is that of a call within this process already
	}
	ctx = metadata.NewOutgoingContext(metadata.NewIncomingContext(ctx, nil), nil)
	if hint == nil {
		return grpc.NewContextWithServerTransportStream(ctx, nil)
	}
	return grpc.NewContextWithServerTransportStream(ctx, hint)
}

// leaderHint takes the metadata of one answer, and keeps where the leader is.
type leaderHint struct {
	mu   sync.Mutex
	addr string
}

var _ grpc.ServerTransportStream = (*leaderHint)(nil)

func (h *leaderHint) leader() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.addr
}

// SetHeader implements [grpc.ServerTransportStream].
func (h *leaderHint) SetHeader(md metadata.MD) error {
	if values := md.Get(LeaderKey); len(values) > 0 {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.addr = values[0]
	}
	return nil
}

// SendHeader implements [grpc.ServerTransportStream].
func (h *leaderHint) SendHeader(md metadata.MD) error { return h.SetHeader(md) }

// Method implements [grpc.ServerTransportStream].
func (h *leaderHint) Method() string { return semav1.Sema_Exchange_FullMethodName }

// SetTrailer implements [grpc.ServerTransportStream].
func (h *leaderHint) SetTrailer(metadata.MD) error { return nil }

// within carries out a call within the process, and counts it.
func within[Req, Resp any](l *Local, ctx context.Context, m *Req, method string, call func(*handler, context.Context, *Req) (*Resp, error)) (*Resp, error) {
	ctx = inProcess(ctx, nil)
	if l.calls == nil {
		return call(l.handler, ctx, m)
	}
	resp, err := l.calls.one(ctx, method, func() (any, error) { return call(l.handler, ctx, m) })
	return resp.(*Resp), err
}

// Acquire implements semav1.SemaClient.
func (l *Local) Acquire(ctx context.Context, m *semav1.AcquireRequest, _ ...grpc.CallOption) (*semav1.AcquireResponse, error) {
	return within(l, ctx, m, semav1.Sema_Acquire_FullMethodName, (*handler).Acquire)
}

// Touch implements semav1.SemaClient.
func (l *Local) Touch(ctx context.Context, m *semav1.TouchRequest, _ ...grpc.CallOption) (*semav1.TouchResponse, error) {
	return within(l, ctx, m, semav1.Sema_Touch_FullMethodName, (*handler).Touch)
}

// TouchAll implements semav1.SemaClient.
func (l *Local) TouchAll(ctx context.Context, m *semav1.TouchAllRequest, _ ...grpc.CallOption) (*semav1.TouchAllResponse, error) {
	return within(l, ctx, m, semav1.Sema_TouchAll_FullMethodName, (*handler).TouchAll)
}

// Release implements semav1.SemaClient.
func (l *Local) Release(ctx context.Context, m *semav1.ReleaseRequest, _ ...grpc.CallOption) (*semav1.ReleaseResponse, error) {
	return within(l, ctx, m, semav1.Sema_Release_FullMethodName, (*handler).Release)
}

// ForceRelease implements semav1.SemaClient.
func (l *Local) ForceRelease(ctx context.Context, m *semav1.ForceReleaseRequest, _ ...grpc.CallOption) (*semav1.ForceReleaseResponse, error) {
	return within(l, ctx, m, semav1.Sema_ForceRelease_FullMethodName, (*handler).ForceRelease)
}

// Get implements semav1.SemaClient.
func (l *Local) Get(ctx context.Context, m *semav1.GetRequest, _ ...grpc.CallOption) (*semav1.GetResponse, error) {
	return within(l, ctx, m, semav1.Sema_Get_FullMethodName, (*handler).Get)
}

// List implements semav1.SemaClient.
func (l *Local) List(ctx context.Context, m *semav1.ListRequest, _ ...grpc.CallOption) (*semav1.ListResponse, error) {
	return within(l, ctx, m, semav1.Sema_List_FullMethodName, (*handler).List)
}

// Status implements semav1.SemaClient.
func (l *Local) Status(ctx context.Context, m *semav1.StatusRequest, _ ...grpc.CallOption) (*semav1.StatusResponse, error) {
	return within(l, ctx, m, semav1.Sema_Status_FullMethodName, (*handler).Status)
}

// Wait implements semav1.SemaClient. As with any stream, the caller reads it to
// its end or cancels ctx.
func (l *Local) Wait(ctx context.Context, m *semav1.WaitRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[semav1.WaitResponse], error) {
	s := &localStream{ctx: ctx, messages: make(chan *semav1.WaitResponse), end: make(chan struct{})}
	go func() { // ends with ctx at the latest
		defer close(s.end)
		_, s.err = l.calls.one(ctx, semav1.Sema_Wait_FullMethodName, func() (any, error) { return nil, l.handler.wait(inProcess(ctx, nil), m, s.send) })
	}()
	return s, nil
}

// Exchange implements semav1.SemaClient. Within a process it would save nothing.
func (l *Local) Exchange(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[semav1.ExchangeRequest, semav1.ExchangeResponse], error) {
	return nil, status.Error(codes.Unimplemented, "there is no exchange within a process")
}

// localStream is a stream of answers without a connection.
type localStream struct {
	ctx      context.Context
	messages chan *semav1.WaitResponse
	end      chan struct{} // closed after err is set
	err      error
}

func (s *localStream) send(m *semav1.WaitResponse) error {
	select {
	case s.messages <- m:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// Recv implements grpc.ServerStreamingClient.
func (s *localStream) Recv() (*semav1.WaitResponse, error) {
	select {
	case m := <-s.messages:
		return m, nil
	case <-s.end:
	}
	if s.err == nil {
		return nil, io.EOF
	}
	return nil, s.err
}

// The rest of grpc.ClientStream is of no use without a connection.

// Header implements grpc.ClientStream.
func (s *localStream) Header() (metadata.MD, error) { return nil, nil }

// Trailer implements grpc.ClientStream.
func (s *localStream) Trailer() metadata.MD { return nil }

// CloseSend implements grpc.ClientStream.
func (s *localStream) CloseSend() error { return nil }

// Context implements grpc.ClientStream.
func (s *localStream) Context() context.Context { return s.ctx }

// SendMsg implements grpc.ClientStream.
func (s *localStream) SendMsg(any) error { return errors.ErrUnsupported }

// RecvMsg implements grpc.ClientStream.
func (s *localStream) RecvMsg(any) error { return errors.ErrUnsupported }
