package cluster_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/semanode/sema"
)

func TestThreeNodesLock(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	leader := h.leader()
	first := acquire(t, leader, "job", "alice", 30*time.Second)
	if first.Status != sema.Acquired || first.Token == 0 {
		t.Fatalf("first acquire: %+v", first)
	}
	if again := acquire(t, leader, "job", "alice", 30*time.Second); again.Status != sema.OwnedBySomeoneElse || again.Token != first.Token {
		t.Fatalf("the same owner twice: %+v", again)
	}
	ctx := context.Background()
	if err := leader.Release(ctx, "job"); err != nil {
		t.Fatal(err)
	}
	if second := acquire(t, leader, "job", "bob", time.Second); second.Token <= first.Token {
		t.Fatalf("token did not rise: %d after %d", second.Token, first.Token)
	}
	_, err := h.follower().Acquire(ctx, "job", "carol", time.Second)
	var notLeader *sema.NotLeaderError
	if !errors.As(err, &notLeader) || notLeader.Leader.ID != leader.ID() {
		t.Fatalf("acquire on a follower: %v", err)
	}
}
