package transport

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Health may be watched by anyone, so how many do at once is bounded: each costs goroutines
// and some 20 KB for as long as its client likes.
const (
	maxWatches     = 1000 // of a server
	maxWatchesEach = 8    // of a connection: a client needs one for each service, of which there are two
)

// watches counts the health watches of a server that are open.
type watches struct {
	mu   sync.Mutex
	open int
}

// stream is a [grpc.StreamServerInterceptor].
func (w *watches) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if info.FullMethod != healthv1.Health_Watch_FullMethodName {
		return handle(srv, stream)
	}
	var conn *pacedConn // nil: it is trusted
	if p, ok := peer.FromContext(stream.Context()); ok {
		_, conn = authOf(p)
	}
	if conn != nil {
		if !take(&conn.mu, &conn.open, maxWatchesEach) {
			return status.Errorf(codes.ResourceExhausted, "this connection has %d health watches open, and may have no more", maxWatchesEach)
		}
		defer giveBack(&conn.mu, &conn.open)
	}
	if !take(&w.mu, &w.open, maxWatches) {
		return status.Errorf(codes.ResourceExhausted, "%d health watches are open, and there may be no more: use Check", maxWatches)
	}
	defer giveBack(&w.mu, &w.open)
	return handle(srv, stream)
}

// take counts one more, if that is within the bound.
func take(mu *sync.Mutex, n *int, most int) bool {
	mu.Lock()
	defer mu.Unlock()
	if *n >= most {
		return false
	}
	*n++
	return true
}

func giveBack(mu *sync.Mutex, n *int) {
	mu.Lock()
	defer mu.Unlock()
	*n--
}
