package transport_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema/transport"
)

// watch opens a health watch that stays open until cancel, unless it is refused.
func watch(t *testing.T, conn *grpc.ClientConn) (cancel context.CancelFunc, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t, 30*time.Second))
	stream, err := healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	return cancel, err
}

// TestHealthWatchesAreBounded: of a connection and of all together, and who ends one may
// open another.
func TestHealthWatchesAreBounded(t *testing.T) {
	g := guard(t, false, func(c *transport.ServerConfig) { c.MaxConns = 1000 })
	full := func(conn *grpc.ClientConn) (n int, cancels []context.CancelFunc) {
		for {
			cancel, err := watch(t, conn)
			if status.Code(err) == codes.ResourceExhausted {
				return n, cancels
			} else if err != nil {
				t.Fatal(err)
			}
			n, cancels = n+1, append(cancels, cancel)
		}
	}
	conn := g.as("", nil)
	n, cancels := full(conn)
	if n != transport.MaxWatchesEach {
		t.Errorf("%d watches of a connection, want %d", n, transport.MaxWatchesEach)
	}
	cancels[0]()
	await(t, "one that has ended makes room", func() bool { _, err := watch(t, conn); return err == nil })
	for all := n; ; all += n {
		if n, _ = full(g.as("", nil)); n < transport.MaxWatchesEach {
			if all+n != transport.MaxWatches {
				t.Errorf("%d watches of all connections, want %d", all+n, transport.MaxWatches)
			}
			break
		}
	}
	if _, err := healthv1.NewHealthClient(conn).Check(within(t, 20*time.Second), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("to ask once: %v", err)
	}
}
