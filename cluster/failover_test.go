package cluster_test

import (
	"context"
	"errors"
	"fmt"
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

func TestDiskFaultEndsNode(t *testing.T) {
	t.Parallel()
	faults := map[string]func(*cluster.Node){
		"stalled": func(n *cluster.Node) { n.StallDisk() },
		"failed": func(n *cluster.Node) {
			if err := n.CloseLog(); err != nil {
				panic(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_, err := n.Acquire(ctx, "unlucky", "alice", time.Minute)
			if !errors.Is(err, sema.ErrOutcomeUnknown) && !errors.Is(err, sema.ErrNotLeader) {
				panic(fmt.Sprintf("acquire on a failed disk: %v", err))
			}
		},
	}
	for name, inject := range faults {
		t.Run(name, func(t *testing.T) {
			h := startHarness(t, 3, nil)
			leader := h.leader()
			held := acquire(t, leader, "held", "alice", time.Minute)
			inject(leader)
			select {
			case <-leader.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("the node did not end")
			}
			if err := leader.Err(); err == nil {
				t.Fatal("the node does not say why it ended")
			} else {
				t.Log(err)
			}
			delete(h.nodes, leader.ID())
			if got := acquire(t, h.leader(), "held", "bob", time.Second); got.Token != held.Token {
				t.Fatalf("after the fault: %+v", got)
			}
		})
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
