package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/transport"
)

func TestLeaderDies(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	leader := h.leader()
	held := acquire(t, leader, "held", "alice", 30*time.Second)
	clock := leader.Clock()
	h.kill(leader.ID())
	next := h.leader()
	if got := acquire(t, next, "held", "bob", time.Second); got.Status != sema.OwnedBySomeoneElse || got.Token != held.Token {
		t.Fatalf("the hold did not survive its leader: %+v", got)
	}
	if fresh := acquire(t, next, "fresh", "bob", time.Second); fresh.Token <= held.Token {
		t.Fatalf("token %d after %d", fresh.Token, held.Token)
	}
	if next.Clock() < clock {
		t.Fatalf("cluster time went back from %v to %v", clock, next.Clock())
	}
	h.start(leader.ID())
	eventually(t, "the old leader is back and has caught up", func() error {
		_, err := h.nodes[leader.ID()].Backend().Get(context.Background(), transport.GetRequest{Name: "fresh", Stale: true})
		return err
	})
}

func TestNoLeaderNoTime(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	leader := h.leader()
	held := acquire(t, leader, "held", "alice", 2*time.Second)
	for id := range h.nodes {
		h.kill(id)
	}
	dark := time.Now()
	eventually(t, "the wall clock has passed the deadline", func() error {
		if time.Now().Before(held.ExpiresAt.Add(time.Second)) {
			return errors.New("not yet")
		}
		return nil
	})
	for id := range h.cfgs {
		h.start(id)
	}
	got := acquire(t, h.leader(), "held", "bob", time.Second)
	if got.Status != sema.OwnedBySomeoneElse || got.Token != held.Token {
		t.Fatalf("after %v without a leader: %+v", time.Since(dark), got)
	}
	if left := time.Until(got.ExpiresAt); left < time.Second || left > 2*time.Second {
		t.Fatalf("%v left of 2s after %v without a leader", left, time.Since(dark))
	}
}

func TestCloseHandsOver(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, func(c *cluster.Config) { c.ElectionTimeout = 3 * time.Second })
	leader := h.leader()
	acquire(t, leader, "before", "alice", time.Minute)
	closing := time.Now()
	h.close(leader.ID())
	acquire(t, h.leader(), "after", "alice", time.Minute)
	if took := time.Since(closing); took > 2*time.Second { // an election would take 3 s and more
		t.Fatalf("it took %v: nothing was handed over", took)
	}
	if err := leader.Err(); err != nil {
		t.Fatalf("a closed node has a fault: %v", err)
	}
	if _, err := leader.Acquire(context.Background(), "late", "alice", time.Minute); err == nil {
		t.Fatal("a closed node still answers")
	}
	if err := leader.Close(); err != nil {
		t.Fatalf("closing twice: %v", err)
	}
}

func TestDiskFailureEndsNode(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	leader := h.leader()
	held := acquire(t, leader, "held", "alice", time.Minute)
	if err := leader.CloseLog(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := leader.Acquire(ctx, "unlucky", "alice", time.Minute); !errors.Is(err, sema.ErrOutcomeUnknown) && !errors.Is(err, sema.ErrNotLeader) {
		t.Fatalf("acquire on a failed disk: %v", err)
	}
	h.endsByItself(leader, "disk failed")
	if got := acquire(t, h.leader(), "held", "bob", time.Second); got.Token != held.Token {
		t.Fatalf("after the fault: %+v", got)
	}
}

func TestDiskStallEndsNode(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, func(c *cluster.Config) { c.WatchdogTimeout = time.Second })
	leader := h.leader()
	held := acquire(t, leader, "held", "alice", time.Minute)
	defer leader.StallDisk()()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := leader.Acquire(ctx, "unlucky", "alice", time.Minute); !errors.Is(err, sema.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("acquire on a stalled disk: %v", err)
	}
	if _, _ = leader.Acquire(ctx, "held", "bob", time.Minute); time.Since(began) > 800*time.Millisecond { // refused from memory, or not
		t.Fatalf("the context ended, the call after %v", time.Since(began))
	}
	h.endsByItself(leader, "disk stalled")
	if got := acquire(t, h.leader(), "held", "bob", time.Second); got.Token != held.Token {
		t.Fatalf("after the fault: %+v", got)
	}
}

// endsByItself waits for a node's end and checks the reason that it gives.
func (h *harness) endsByItself(n *cluster.Node, cause string) {
	h.t.Helper()
	select {
	case <-n.Done():
	case <-time.After(10 * time.Second):
		h.t.Fatalf("%s did not end", n.ID())
	}
	if err := n.Err(); err == nil || !strings.Contains(err.Error(), cause) {
		h.t.Fatalf("%s ended with %v, want %q", n.ID(), err, cause)
	}
	delete(h.nodes, n.ID())
}

// TestEndOnAStalledDisk ends nodes whose disk does not answer. The goroutines that
// hang in it stay; the caller must not.
func TestEndOnAStalledDisk(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]struct {
		with  func(*cluster.Node)
		cause string // that the watchdog finds meanwhile
	}{
		"close": {func(n *cluster.Node) { _ = n.Close() }, "disk stalled"},
		"kill":  {func(n *cluster.Node) { n.Kill() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := startHarness(t, 3, func(c *cluster.Config) { c.WatchdogTimeout = 2 * time.Second })
			leader := h.leader()
			defer leader.StallDisk()()
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			if _, err := leader.Acquire(ctx, "unlucky", "alice", time.Minute); !errors.Is(err, sema.ErrOutcomeUnknown) {
				t.Fatalf("acquire on a stalled disk: %v", err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				end.with(leader)
			}()
			select {
			case <-ended:
			case <-time.After(15 * time.Second):
				t.Fatalf("%s hangs with the disk", name)
			}
			if err := leader.Err(); end.cause != "" && (err == nil || !strings.Contains(err.Error(), end.cause)) {
				t.Fatalf("it ended with %v", err)
			}
			delete(h.nodes, leader.ID())
		})
	}
}

// TestCloseWhileCallsWait closes a leader under load: each call must end, with an
// answer or an error, also those that raft never answers.
func TestCloseWhileCallsWait(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, func(c *cluster.Config) { c.ElectionTimeout = 50 * time.Millisecond })
	leader := h.leader()
	acquire(t, leader, "busy", "alice", time.Minute)
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := 0; ; i++ {
				_, err := leader.Acquire(context.Background(), []string{"busy", fmt.Sprint("own", w, i)}[i%2], "bob", time.Minute)
				if errors.Is(err, sema.ErrClosed) {
					return
				}
			}
		})
	}
	h.close("n1")
	wg.Wait()
}

// TestCloseAtOnce ends nodes whose goroutines have hardly begun: that is no fault, and
// nothing in the log says that it is one.
func TestCloseAtOnce(t *testing.T) {
	h := newHarness(t, 1, nil)
	for _, end := range []func(*cluster.Node) error{(*cluster.Node).Close, func(n *cluster.Node) error { n.Kill(); return nil }} {
		for range 10 {
			n := h.start("n1")
			if err := end(n); err != nil {
				t.Fatalf("close: %v", err)
			}
			delete(h.nodes, "n1")
			if err := n.Err(); err != nil {
				t.Fatalf("a node that was closed at once says that it failed: %v", err)
			}
		}
	}
	if strings.Contains(h.logs.String(), "[ERROR]") {
		t.Error("errors are logged though nothing failed")
	}
}

func TestCallsWithoutQuorum(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	leader := h.leader()
	for id := range h.nodes {
		if id != leader.ID() {
			h.kill(id)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := leader.Acquire(ctx, "a", "alice", time.Minute)
	if !errors.Is(err, sema.ErrOutcomeUnknown) && !errors.Is(err, sema.ErrNotLeader) {
		t.Fatalf("without a quorum: %v", err)
	}
	eventually(t, "the leader without a quorum steps down", func() error {
		_, err := leader.Backend().Get(context.Background(), transport.GetRequest{Name: "a"})
		if errors.Is(err, sema.ErrNotLeader) {
			return nil
		}
		return fmt.Errorf("it answers %v", err)
	})
}
