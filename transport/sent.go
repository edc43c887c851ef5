package transport

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// Sent tells whether a call left this process: the difference between "failed"
// and "outcome unknown". gRPC's codes do not tell: UNAVAILABLE is both a
// connection that was refused and one that broke after the request was sent.
type Sent struct{ left atomic.Bool }

// Maybe reports whether the request may have reached the other side.
func (s *Sent) Maybe() bool { return s.left.Load() }

type sentKey struct{}

// WatchSent returns a context for one call and the Sent that tells of it. The
// connection must have been made with [SentOption].
func WatchSent(ctx context.Context) (context.Context, *Sent) {
	s := new(Sent)
	return context.WithValue(ctx, sentKey{}, s), s
}

// SentOption makes a connection tell [WatchSent].
func SentOption() grpc.DialOption { return grpc.WithStatsHandler(sentHandler{}) }

type sentHandler struct{}

func (sentHandler) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC sees OutHeader when the headers are handed to the connection: from
// then on the request must be assumed sent.
func (sentHandler) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutHeader); !ok {
		return
	}
	if sent, ok := ctx.Value(sentKey{}).(*Sent); ok {
		sent.left.Store(true)
	}
}

func (sentHandler) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

func (sentHandler) HandleConn(context.Context, stats.ConnStats) {}
