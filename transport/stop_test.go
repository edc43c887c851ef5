package transport_test

import (
	"context"
	"testing"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/semanode/sema/transport"
)

// A health checker that watches would otherwise keep a node from stopping for as
// long as it drains, and so would a call that waits for a leader.
func TestStopDoesNotWaitForWhatOnlyWaits(t *testing.T) {
	e := newElection()
	m := serveAwaiting(t, "n1", passing(t), e)
	m.followsNobody()
	watch, err := healthv1.NewHealthClient(m.conn).Watch(within(t, 20*time.Second), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	call := make(chan error, 1)
	go func() {
		_, err := m.client.Acquire(within(t, 20*time.Second), acquireA())
		call <- err
	}()
	<-e.asked

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	began := time.Now()
	m.server.Stop(ctx)
	if took := time.Since(began); took > time.Second {
		t.Errorf("stopping took %v", took)
	}
	if err := transport.ErrorFromStatus(<-call); err == nil {
		t.Error("a call without a leader succeeded")
	}
}
