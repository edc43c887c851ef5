package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// manyTouches are touches of two holds in turn, and of one that nobody has now and
// then.
func manyTouches(t *testing.T, b transport.Backend, n int) transport.TouchAllRequest {
	t.Helper()
	var ids []transport.HoldID
	for _, name := range []string{"kept/a", "kept/b"} {
		info, err := b.Acquire(t.Context(), transport.AcquireRequest{Name: name, Owner: "bob", Timeout: time.Minute})
		if err != nil || info.Status != sema.Acquired {
			t.Fatalf("%+v, %v", info, err)
		}
		ids = append(ids, transport.HoldID{Name: name, Token: info.Token})
	}
	req := transport.TouchAllRequest{Holds: make([]transport.HoldID, n)}
	for i := range req.Holds {
		if req.Holds[i] = ids[i%2]; i%1000 == 999 {
			req.Holds[i].Token += 100
		}
	}
	return req
}

// TestTouchAllAnswersInOrder: however many proposals it takes.
func TestTouchAllAnswersInOrder(t *testing.T) {
	h := newHarness(t, 1, nil)
	h.start("n1")
	b := h.leader().Backend()
	all := manyTouches(t, b, 5000)
	for _, n := range []int{1, 256, 257, 1024, 1025, 5000} {
		req := transport.TouchAllRequest{Holds: all.Holds[:n]}
		outcomes, err := b.TouchAll(t.Context(), req)
		if err != nil || len(outcomes) != n {
			t.Fatalf("%d touches: %d outcomes, %v", n, len(outcomes), err)
		}
		for i, o := range outcomes {
			if lost := i%1000 == 999; lost != errors.Is(o.Err, sema.ErrNotHeld) || lost != (o.Err != nil) || lost != o.ExpiresAt.IsZero() {
				t.Fatalf("touch %d of %d: %+v", i, n, o)
			}
		}
	}
}

// TestTouchAllHoldsUpNobody: while one client touches as much as it may at once, others
// are served.
func TestTouchAllHoldsUpNobody(t *testing.T) {
	const others = 5
	h := newHarness(t, 1, nil)
	h.start("n1")
	leader := h.leader()
	b := leader.Backend()
	req := manyTouches(t, b, transport.MaxTouches)
	first := leader.AppliedIndex()
	done := make(chan error, 1)
	go func() {
		_, err := b.TouchAll(t.Context(), req)
		done <- err
	}()
	eventually(t, "touching has begun", func() error {
		if leader.AppliedIndex() < first+2 {
			return errors.New("it has not")
		}
		return nil
	})
	for i := range others {
		if _, err := b.Acquire(t.Context(), transport.AcquireRequest{Name: fmt.Sprintf("other/%d", i), Owner: "eve", Timeout: time.Minute}); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			t.Fatalf("%d touches were done (%v) before %d acquires, one after the other", transport.MaxTouches, err, i+1)
		default:
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestTouchAllGivesUp: when its caller does, what is left is not proposed.
func TestTouchAllGivesUp(t *testing.T) {
	h := newHarness(t, 1, nil)
	h.start("n1")
	leader := h.leader()
	b := leader.Backend()
	req := manyTouches(t, b, transport.MaxTouches)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	outcomes, err := b.TouchAll(ctx, req)
	if err != nil || len(outcomes) != len(req.Holds) {
		t.Fatalf("%d outcomes, %v", len(outcomes), err)
	}
	if last := outcomes[len(outcomes)-1].Err; !errors.Is(last, context.Canceled) {
		t.Fatalf("the last touch: %v", last)
	}
}
