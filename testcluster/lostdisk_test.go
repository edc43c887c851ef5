package testcluster_test

import (
	"errors"
	"testing"
	"time"

	"github.com/semanode/sema/testcluster"
)

var errNotYet = errors.New("not yet")

// A machine that has lost its disk comes back as a new member whose vote counts, and
// nothing that was promised is gone.
func TestALostDisk(t *testing.T) {
	for _, c := range []struct {
		name   string
		leader bool
		opts   testcluster.Options
	}{
		{"of a follower", false, testcluster.Options{}},
		{"of the leader", true, testcluster.Options{}},
		{"of files", true, testcluster.Options{OnDisk: true}},
		{"of one in five", true, testcluster.Options{Nodes: 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			testcluster.Run(t, c.opts, func(t *testing.T, cl *testcluster.Cluster) {
				hold := acquired(t, cl.Client(), "held all the time")
				lost := cl.Follower().ID()
				if c.leader {
					lost = cl.Leader().ID()
				}
				for range 2 { // the new disk, too
					cl.LoseDisk(lost)
					if cl.Node(lost) != nil {
						t.Errorf("%s runs without a disk", lost)
					}
					serves(t, cl.Client().Client)
					if n := cl.Start(lost); n == nil || n != cl.Node(lost) {
						t.Fatalf("%s was started and does not run", lost)
					}
				}
				for _, other := range others(cl, lost)[:(len(cl.IDs())-1)/2] {
					cl.CutPower(other)
				}
				serves(t, cl.Client().Client) // by a majority with the new member in it
				stillHeld(t, cl.Client().Client, hold)
			})
		})
	}
}

// A machine may lose its disk while the network, or the majority, is away: it comes back
// when they do.
func TestALostDiskWaitsForTheOthers(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		hold := acquired(t, c.Client(), "held all the time")
		injury := c.Inject(fault(t, "disk-lost"), "n1")
		c.Partition([]string{"n1"}, []string{"n2"}, []string{"n3"})
		<-time.After(time.Minute)
		began := time.Now()
		if err := injury.Undo(); err != nil || time.Since(began) > 0 {
			t.Errorf("undone after %v, error %v: it should not wait for the network", time.Since(began), err)
		}
		if proof := injury.Proof(); proof != "" {
			t.Errorf("nobody hears anybody, and its proof is %q", proof)
		}
		c.Heal()
		c.Eventually("it is back", func() error {
			if injury.Proof() == "" {
				return errNotYet
			}
			return nil
		})
		stillHeld(t, c.ClientOf("n1").Client, hold)
	})
}

// A node that comes back as a new member may be killed on its way, at any moment.
func TestANodeWithoutAVoteIsKilled(t *testing.T) {
	story(t, func(t *testing.T, c *testcluster.Cluster) {
		hold := acquired(t, c.Client(), "held all the time")
		for i := range 12 {
			injury := c.Inject(fault(t, "disk-lost"), "n1")
			for range 3 {
				<-time.After(time.Duration(i*17) * time.Millisecond)
				c.CutPower("n1")
				<-time.After(time.Second)
				if c.Node("n1") != nil {
					t.Fatal("a machine without power has a node")
				}
				if err := injury.Undo(); err != nil { // it may run again
					t.Fatal(err)
				}
			}
			c.Start("n1")
			if proof := injury.Proof(); proof != "came back as a new member: 1" {
				t.Errorf("its proof is %q", proof)
			}
			stillHeld(t, c.ClientOf("n1").Client, hold)
		}
	})
}

// A test may end while a machine is without its disk, or is coming back.
func TestEndingWithADiskLost(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(*testing.T, *testcluster.Cluster)
	}{
		{"nobody brings it back", func(_ *testing.T, c *testcluster.Cluster) { c.LoseDisk("n1") }},
		{"nobody can remove it", func(t *testing.T, c *testcluster.Cluster) {
			c.Inject(fault(t, "disk-lost"), "n1")
			c.Kill("n2")
			<-time.After(10 * time.Second)
		}},
		{"at once", func(t *testing.T, c *testcluster.Cluster) { c.Inject(fault(t, "disk-lost"), "n1") }},
		{"it finds nobody to join", func(t *testing.T, c *testcluster.Cluster) {
			c.Inject(fault(t, "disk-lost"), "n1")
			c.Isolate("n1")
			<-time.After(10 * time.Second)
		}},
		{"it is paused", func(t *testing.T, c *testcluster.Cluster) {
			c.Inject(fault(t, "disk-lost"), "n1")
			c.Pause("n1")
			<-time.After(10 * time.Second)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			story(t, func(t *testing.T, cl *testcluster.Cluster) {
				serves(t, cl.Client().Client)
				cl.Eventually("the disk may be lost", func() error {
					if !fault(t, "disk-lost").Applies(cl, "n1") {
						return errNotYet
					}
					return nil
				})
				c.harm(t, cl)
			})
		})
	}
}
