package testcluster_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/testcluster"
)

// contractOf runs the suite against a cluster in virtual time.
func contractOf(t *testing.T, open func(t *testing.T, c *testcluster.Cluster) func() sema.Service) {
	t.Helper()
	testcluster.TestService(t, func(t *testing.T, check testcluster.Check) {
		testcluster.Run(t, testcluster.Options{}, func(t *testing.T, c *testcluster.Cluster) {
			check(t, open(t, c))
		})
	})
}

func TestContractOfTheLeader(t *testing.T) {
	t.Parallel()
	contractOf(t, func(_ *testing.T, c *testcluster.Cluster) func() sema.Service {
		leader, users := c.Leader(), 0
		return func() sema.Service {
			if users++; users > 1 {
				return leader.Fork() // the node itself is one user
			}
			return leader
		}
	})
}

func TestContractOfAClient(t *testing.T) {
	t.Parallel()
	contractOf(t, func(_ *testing.T, c *testcluster.Cluster) func() sema.Service {
		c.Leader()
		return func() sema.Service { return c.Client().Client }
	})
}

// All that these clients say goes through a follower, which passes it on.
func TestContractOfAClientThatReachesAFollowerOnly(t *testing.T) {
	t.Parallel()
	contractOf(t, func(_ *testing.T, c *testcluster.Cluster) func() sema.Service {
		id := c.Follower().ID()
		others := slices.DeleteFunc(c.IDs(), func(other string) bool { return other == id })
		return func() sema.Service {
			cl := c.ClientOf(id)
			c.Partition([]string{cl.Name}, others)
			return cl.Client
		}
	})
}

func TestContractOfAClientInsideAFollower(t *testing.T) {
	t.Parallel()
	contractOf(t, func(t *testing.T, c *testcluster.Cluster) func() sema.Service {
		follower := c.Follower()
		return func() sema.Service {
			cl := follower.Client()
			t.Cleanup(func() { _ = cl.Close() }) // it has no errors
			return cl
		}
	})
}

// The Services of different kinds are about the same semaphores.
func TestContractOfAllKindsTogether(t *testing.T) {
	t.Parallel()
	contractOf(t, func(t *testing.T, c *testcluster.Cluster) func() sema.Service {
		leader, embedded, users := c.Leader(), c.Follower().Client(), 0
		t.Cleanup(func() { _ = embedded.Close() })
		return func() sema.Service {
			users++
			switch users % 3 {
			case 1:
				return c.Client().Client
			case 2:
				return leader.Fork()
			}
			return embedded.Fork()
		}
	})
}

// The node in memory that tests of this module use.
func TestContractOfASession(t *testing.T) {
	t.Parallel()
	testcluster.TestService(t, func(t *testing.T, check testcluster.Check) {
		synctest.Test(t, func(t *testing.T) {
			node := aging{Node: new(fakenode.Node)}
			check(t, func() sema.Service { return session.New(node, sema.ClientID{}) })
		})
	})
}
