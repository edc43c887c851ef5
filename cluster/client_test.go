package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

// TestClientThroughAnyNode gives clients one endpoint each: whichever node it is,
// the contract is the same.
func TestClientThroughAnyNode(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	h.follower() // the followers know the leader
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var last uint64
	for id, node := range h.nodes {
		c, err := client.New(client.Config{Endpoints: []string{node.GRPCAddr()}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		name := fmt.Sprintf("through/%s", id)
		mine := acquire(t, c, name, "alice", time.Minute)
		if mine.Status != sema.Acquired || mine.Token <= last {
			t.Fatalf("%s: %+v after token %d", id, mine, last)
		}
		last = mine.Token
		if again := acquire(t, c, name, "alice", time.Minute); again.Status != sema.OwnedBySomeoneElse {
			t.Fatalf("%s: the same owner twice: %+v", id, again)
		}
		if touched, err := c.Touch(ctx, name); err != nil || touched.ExpiresAt.Before(mine.ExpiresAt) {
			t.Fatalf("%s: touch: %+v, %v", id, touched, err)
		}
		if got, err := c.Get(ctx, name); err != nil || got.Token != mine.Token || got.Status != sema.Acquired {
			t.Fatalf("%s: get: %+v, %v", id, got, err)
		}
		if err := c.Release(ctx, name); err != nil {
			t.Fatalf("%s: release: %v", id, err)
		}
		if _, err := c.Get(ctx, name); !errors.Is(err, sema.ErrNotFound) {
			t.Fatalf("%s: get after the release: %v", id, err)
		}
	}
}
