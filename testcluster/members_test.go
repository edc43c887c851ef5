package testcluster_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster"
	"github.com/semanode/sema/transport"
)

// A leader that is cut off does not say that a node is no member because it has begun to
// remove it itself: the next leader has never heard of that.
func TestARemovalThatIsTakenBackIsNotReported(t *testing.T) {
	t.Parallel()
	testcluster.Run(t, testcluster.Options{ElectionTimeout: 5 * time.Second}, func(t *testing.T, c *testcluster.Cluster) {
		leader := c.Leader().ID()
		operator := c.ClientOf(leader)
		serves(t, operator.Client)
		gone := others(c, leader)[0]
		c.Partition([]string{leader, operator.Name}, others(c, leader))
		for range 3 {
			ctx, cancel := within(500 * time.Millisecond)
			err := operator.RemoveNode(ctx, gone, true)
			cancel()
			if err == nil || errors.Is(err, sema.ErrNotFound) {
				t.Errorf("%s was removed by a leader that nobody hears: error %v", gone, err)
			}
		}
		leaderIsNot(c, leader)
		c.Heal()
		serves(t, operator.Client)
		st, err := c.Leader().Backend().Status(t.Context(), transport.StatusRequest{})
		if err != nil || len(st.Nodes) != 3 {
			t.Errorf("the members are %+v, error %v", st.Nodes, err)
		}
	})
}

// A removal that arrives again, late, does not take out the member that has joined under the
// same id meanwhile.
func TestALateRemovalRemovesNobodyElse(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		operator := c.Client()
		serves(t, operator.Client)
		for round := range 10 {
			injury := c.Inject(fault(t, "late-copies"), operator.Name)
			c.LoseDisk("n1")
			c.Eventually("n1 is removed", func() error {
				ctx, cancel := within(10 * time.Second)
				defer cancel()
				err := operator.RemoveNode(ctx, "n1", false)
				if errors.Is(err, sema.ErrNotFound) {
					return nil
				}
				return err
			})
			c.Start("n1")
			<-time.After(10 * time.Second) // by then all copies have come
			if err := injury.Undo(); err != nil {
				t.Fatal(err)
			}
			st, err := c.Leader().Backend().Status(t.Context(), transport.StatusRequest{})
			if err != nil || !slices.ContainsFunc(st.Nodes, func(n transport.NodeStatus) bool { return n.ID == "n1" }) {
				t.Fatalf("after round %d n1 is no member: %+v, error %v", round, st.Nodes, err)
			}
		}
	})
}
