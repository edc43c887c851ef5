//go:build !race

// The race detector lets goroutines run in an order by chance, and callers apart.

package cluster_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/semanode/sema/testcluster"
)

// lastIndex is how long the leader's log is.
func lastIndex(c *testcluster.Cluster) uint64 { return c.Leader().LastIndex() }

// Under a steady load one entry has the commands of all, not of every other caller.
func TestCallersTravelTogether(t *testing.T) {
	t.Parallel()
	testcluster.Run(t, testcluster.Options{}, func(t *testing.T, c *testcluster.Cluster) {
		const callers, rounds = 64, 200
		cl := c.Client()
		before := lastIndex(c)
		done := make(chan error, callers)
		for i := range callers {
			go func() { done <- cycles(t.Context(), cl, fmt.Sprint(i), rounds) }()
		}
		for range callers {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		n := lastIndex(c) - before
		t.Logf("%d commands in %d entries", 2*callers*rounds, n)
		if n > rounds*43/10 { // without waiting for those who return it is more than 4.6 times the rounds
			t.Errorf("%d commands took %d entries", 2*callers*rounds, n)
		}
	})
}

func cycles(ctx context.Context, cl *testcluster.Client, name string, n int) error {
	for range n {
		info, err := cl.Acquire(ctx, name, "w", time.Minute)
		if err == nil {
			_, err = cl.ReleaseToken(ctx, name, info.Token)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
