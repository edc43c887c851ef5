package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// TestIsolatesOnOneNodeDoNotShareAHold takes the hold of one isolated work away
// and gives the semaphore to another, through the same node: the first must learn
// of it, and must not keep or free the other's hold.
func TestIsolatesOnOneNodeDoNotShareAHold(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	node := h.leader()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	opts := sema.IsolateOptions{Timeout: 600 * time.Millisecond, SleepBetweenAttempts: 10 * time.Millisecond}

	entered := make(chan sema.Info, 1)
	first := make(chan error, 1)
	go func() {
		_, err := sema.Isolate(ctx, node, "shared", "first", func(ctx context.Context, hold sema.Info) (int, error) {
			entered <- hold
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, opts)
		first <- err
	}()
	hold := <-entered
	if _, err := node.Backend().ForceRelease(ctx, transport.ForceReleaseRequest{Name: "shared", Token: hold.Token}); err != nil {
		t.Fatal(err)
	}
	_, err := sema.Isolate(ctx, node, "shared", "second", func(work context.Context, mine sema.Info) (int, error) {
		select {
		case err := <-first: // ends while this one holds, and releases
			if !errors.Is(err, sema.ErrLost) {
				t.Errorf("the first was not told: %v", err)
			}
		case <-work.Done():
			return 0, context.Cause(work)
		}
		got, err := node.Backend().Get(ctx, transport.GetRequest{Name: "shared"})
		if err != nil || got.Info.Token != mine.Token {
			t.Errorf("the first's release ended the second's hold: %+v, %v", got, err)
		}
		return 0, nil
	}, opts)
	if err != nil {
		t.Fatalf("the second: %v", err)
	}
}
