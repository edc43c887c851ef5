package testcluster_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster"
)

// story runs a test on three nodes in virtual time.
func story(t *testing.T, test func(t *testing.T, c *testcluster.Cluster)) {
	t.Helper()
	t.Parallel()
	testcluster.Run(t, testcluster.Options{}, test)
}

func TestLeaderFollowerAndClients(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		leader, follower := c.Leader(), c.Follower()
		if !leader.IsLeader() || follower.IsLeader() || follower.Leader().ID != leader.ID() {
			t.Errorf("%s should lead, and %s follow it", leader.ID(), follower.ID())
		}
		if got := fmt.Sprint(c.IDs()); got != "[n1 n2 n3]" {
			t.Errorf("the nodes are %s", got)
		}
		if c.Node(leader.ID()) != leader {
			t.Error("Node returns another node than Leader")
		}
		first, second := c.Client(), c.ClientOf(follower.ID())
		if first.Name != "c1" || second.Name != "c2" {
			t.Errorf("the clients are on %s and %s", first.Name, second.Name)
		}
		serves(t, first.Client)
		serves(t, second.Client)
		if c.Seed() == 0 || c.Elapsed() <= 0 || c.Elapsed() > time.Minute {
			t.Errorf("seed %d, elapsed %v", c.Seed(), c.Elapsed())
		}
	})
}

func TestAPartitionedLeaderIsReplacedAndComesBack(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		old := c.Leader().ID()
		with, without := c.ClientOf(old), c.Client()
		hold := acquired(t, with, "held before")
		c.Partition([]string{old, with.Name}, append(others(c, old), without.Name))
		leaderIsNot(c, old)
		stillHeld(t, without.Client, hold)
		serves(t, without.Client)
		serveless(t, with.Client)
		c.Heal()
		serves(t, with.Client)
		c.Eventually("the old leader follows", func() error {
			if n := c.Node(old); n.IsLeader() || n.Leader().ID == "" {
				return errors.New("not yet")
			}
			return nil
		})
	})
}

// Who is in no group hears both sides.
func TestAMachineInNoGroupHearsAll(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		cl := c.Client()
		leader := c.Leader().ID()
		c.Partition([]string{leader}, others(c, leader))
		for _, id := range c.IDs() {
			if _, err := statusOf(c.ClientOf(id)); err != nil {
				t.Errorf("a client does not hear %s: %v", id, err)
			}
		}
		serves(t, cl.Client)
	})
}

// statusOf asks the node that a client knows.
func statusOf(cl *testcluster.Client) (int, error) {
	ctx, cancel := within(5 * time.Second)
	defer cancel()
	st, err := cl.Status(ctx)
	return len(st.Nodes), err
}

func TestAnIsolatedMachineIsAlone(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		leader := c.Leader().ID()
		cl, lonely := c.Client(), c.Client()
		serves(t, lonely.Client)
		c.Isolate(leader)
		c.Isolate(lonely.Name) // cuts add up
		leaderIsNot(c, leader)
		serves(t, cl.Client)
		serveless(t, lonely.Client)
		c.Heal()
		serves(t, lonely.Client)
	})
}

// Each direction by itself: a node that cannot answer grants all the same.
func TestWhichDirectionIsCut(t *testing.T) {
	for _, c := range []struct {
		name    string
		cut     func(*testcluster.Cluster)
		granted bool
	}{
		{"the request does not arrive", func(c *testcluster.Cluster) { c.Silence("c1", "n1") }, false},
		{"the answer does not arrive", func(c *testcluster.Cluster) { c.Silence("n1", "c1") }, true},
		{"the node is isolated", func(c *testcluster.Cluster) { c.Isolate("n1") }, false},
		{"the client is isolated", func(c *testcluster.Cluster) { c.Isolate("c1") }, false},
		{"they are in two parts", func(c *testcluster.Cluster) { c.Partition([]string{"c1"}, []string{"n1"}) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			testcluster.Run(t, testcluster.Options{Nodes: 1}, func(t *testing.T, cl *testcluster.Cluster) {
				node, client := cl.Leader(), cl.Client()
				serves(t, client.Client)
				c.cut(cl)
				ctx, cancel := within(time.Second)
				defer cancel()
				if _, err := client.Acquire(ctx, "s", "somebody", long); !errors.Is(err, sema.ErrOutcomeUnknown) {
					t.Errorf("no answer: error %v, want %v", err, sema.ErrOutcomeUnknown)
				}
				if _, err := node.Get(t.Context(), "s"); (err == nil) != c.granted {
					t.Errorf("the node, asked whether it is held: %v; granted should be %v", err, c.granted)
				}
				cl.Heal()
				acquired(t, client, "s") // it goes on with the same attempt
			})
		})
	}
}

// All nodes end in the same way and come back: what was granted stands.
func TestHoldsSurviveTheEndOfAllNodes(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(c *testcluster.Cluster, id string)
	}{
		{"killed", (*testcluster.Cluster).Kill},
		{"without power", (*testcluster.Cluster).CutPower},
		{"stopped", (*testcluster.Cluster).Stop},
	} {
		t.Run(c.name, func(t *testing.T) {
			story(t, func(t *testing.T, cl *testcluster.Cluster) {
				hold := acquired(t, cl.Client(), "s")
				for _, id := range cl.IDs() {
					c.end(cl, id)
					if cl.Node(id) != nil {
						t.Errorf("%s still runs", id)
					}
					c.end(cl, id) // once more does nothing
				}
				serveless(t, cl.Client().Client)
				for _, id := range cl.IDs() {
					if n := cl.Start(id); n == nil || n != cl.Node(id) {
						t.Errorf("%s was started and does not run", id)
					}
				}
				stillHeld(t, cl.Client().Client, hold)
			})
		})
	}
}

func TestAStoppedLeaderHandsOver(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		leader := c.Leader().ID()
		c.Follower()
		c.Stop(leader)
		if n := c.Leader(); n.ID() == leader || c.Elapsed() > 10*time.Second {
			t.Errorf("%s leads after %v", n.ID(), c.Elapsed())
		}
		c.Start(leader)
		serves(t, c.Client().Client)
	})
}

func TestARestartedNodeIsAnother(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		old := c.Leader()
		n := c.Restart(old.ID())
		if n == old || n.ID() != old.ID() || n != c.Node(old.ID()) {
			t.Error("Restart should return a new node on the same machine")
		}
		select {
		case <-old.Done():
		default:
			t.Error("the old node has not ended")
		}
		serves(t, c.Client().Client)
	})
}

func TestAPausedLeaderIsReplacedAndGoesOnAsAFollower(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		old := c.Leader().ID()
		cl := c.Client()
		c.Pause(old)
		leaderIsNot(c, old)
		serves(t, cl.Client)
		c.Resume(old)
		c.Eventually("the old leader follows", func() error {
			if n := c.Node(old); n == nil || n.IsLeader() || n.Leader().ID == "" {
				return errors.New("not yet")
			}
			return nil
		})
	})
}

func TestAPausedClientGoesOn(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		cl := c.Client()
		serves(t, cl.Client)
		c.Pause(cl.Name)
		done := make(chan error, 1)
		go func() {
			ctx, cancel := within(time.Hour)
			defer cancel()
			_, err := cl.Acquire(ctx, "s", "somebody", long)
			done <- err
		}()
		select {
		case err := <-done:
			t.Fatalf("a paused client was answered, error %v", err)
		case <-time.After(time.Minute):
		}
		c.Resume(cl.Name)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A process that was paused and then killed is gone; the next one is not paused.
func TestANodeThatStartsIsNotPaused(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		id := c.Leader().ID()
		c.Pause(id)
		c.Kill(id)
		c.Pause(id) // nobody is there
		c.Start(id)
		c.Eventually("it follows", func() error {
			if c.Node(id).Leader().ID == "" {
				return errors.New("not yet")
			}
			return nil
		})
	})
}

func TestMistakesInVerbsAreNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*testcluster.Cluster)
		want string
	}{
		{"a node that there is not", func(c *testcluster.Cluster) { c.Kill("n4") }, `there is no node "n4"; there are [n1 n2 n3]`},
		{"a machine that there is not", func(c *testcluster.Cluster) { c.Pause("c1") }, `there is no node "c1"`},
		{"a client of none", func(c *testcluster.Cluster) { c.ClientOf("n9") }, `there is no node "n9"`},
		{"a partition of none", func(c *testcluster.Cluster) { c.Partition([]string{"n1"}, []string{"n2", "x"}) }, `there is no node "x"`},
		{"isolating none", func(c *testcluster.Cluster) { c.Isolate("x") }, `there is no node "x"`},
		{"silencing none", func(c *testcluster.Cluster) { c.Silence("n1", "x") }, `there is no node "x"`},
		{"more disks than a minority", func(c *testcluster.Cluster) { c.LoseDisk("n1"); c.LoseDisk("n2") }, "n2 cannot lose its disk: 1 of 3 nodes would be left"},
		{"the only disk's node that there is not", func(c *testcluster.Cluster) { c.LoseDisk("n4") }, `there is no node "n4"`},
		{"started twice", func(c *testcluster.Cluster) { c.Start("n1") }, "node n1 is running"},
		{"a leader in vain", func(c *testcluster.Cluster) { c.Kill("n1"); c.Kill("n2"); c.Leader() }, `waited 5m0s for "a node leads" in vain: none does`},
		{"a follower in vain", func(c *testcluster.Cluster) { c.Leader(); c.Kill("n1"); c.Kill("n2"); c.Follower() }, `in vain`},
		{"anything in vain", func(c *testcluster.Cluster) {
			c.Eventually("the moon is full", func() error { return errors.New("it is new") })
		}, `waited 5m0s for "the moon is full" in vain: it is new`},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				overhear(t, func(tb testing.TB) {
					c.do(testcluster.New(tb, testcluster.Options{ElectionTimeout: 2 * time.Second}))
				}).hasFailed(t, c.want)
			})
		})
	}
}

// Eventually does not look too seldom, nor later than it must.
func TestEventuallyReturnsSoon(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		for _, after := range []time.Duration{0, 10 * time.Millisecond, time.Second, time.Minute} {
			began := time.Now()
			c.Eventually("time has passed", func() error {
				if time.Since(began) < after {
					return errors.New("not yet")
				}
				return nil
			})
			if late := time.Since(began) - after; late < 0 || late > 100*time.Millisecond {
				t.Errorf("waited for %v, and %v longer", after, late)
			}
		}
	})
}
