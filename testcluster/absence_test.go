package testcluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/semanode/sema/cluster"
)

// A node that comes back, however long it was away, has all entries at once: as long as it
// has not, the cluster can do without one node less.
func TestWhoComesBackHasAllAtOnce(t *testing.T) {
	t.Parallel()
	leave := map[string]func(c *Cluster, id string){
		"killed":  func(c *Cluster, id string) { c.Kill(id) },
		"stopped": func(c *Cluster, id string) { c.Stop(id) },
		"cut off": func(c *Cluster, id string) { c.Isolate(id) },
	}
	back := map[string]func(c *Cluster, id string){
		"killed":  func(c *Cluster, id string) { c.Start(id) },
		"stopped": func(c *Cluster, id string) { c.Start(id) },
		"cut off": func(c *Cluster, _ string) { c.Heal() },
	}
	for how := range leave {
		for _, snapshot := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, snapshot %v", how, snapshot), func(t *testing.T) {
				t.Parallel()
				Run(t, Options{Tune: func(c *cluster.Config) {
					if snapshot {
						c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = time.Second, 10, 10
					}
				}}, func(t *testing.T, c *Cluster) {
					svc := c.Client()
					for _, away := range []time.Duration{5 * time.Second, time.Minute, time.Hour} {
						id := c.Follower().ID()
						leave[how](c, id)
						for i := range 50 {
							if _, err := svc.Acquire(t.Context(), fmt.Sprintf("%v %d", away, i), "somebody", time.Minute); err != nil {
								t.Fatal(err)
							}
						}
						<-time.After(away)
						back[how](c, id)
						came := time.Now()
						c.Eventually("it has all", func() error {
							if has, all := nodeStatus(c.Node(id)).AppliedIndex, nodeStatus(c.Leader()).AppliedIndex; has < all {
								return fmt.Errorf("it has %d entries of %d", has, all)
							}
							return nil
						})
						t.Logf("away for %v: it has all after %v", away, time.Since(came))
						if took := time.Since(came); took > time.Second {
							t.Errorf("it was back after %v, and had all %v later", away, took)
						}
					}
				})
			})
		}
	}
}
