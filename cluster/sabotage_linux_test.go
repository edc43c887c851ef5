//go:build sabotage

package cluster_test

import (
	"os"
	"testing"

	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/internal/sabotage"
)

// unsyncedEnv makes a node's process say that it has synced what it has not.
const unsyncedEnv = "SEMA_TEST_UNSYNCED"

func init() {
	breakPromises = func() {
		if os.Getenv(unsyncedEnv) != "" {
			sabotage.Set(sabotage.UnsyncedLog)
		}
	}
}

// TestSabotagePowerCuts leaves out the sync, or takes a disk that says it has flushed
// what it has not, and cuts the power: the ledger must notice what is lost.
func TestSabotagePowerCuts(t *testing.T) {
	for _, store := range []cluster.LogStore{cluster.WAL, cluster.BoltDB} {
		t.Run(string(store)+" without sync", func(t *testing.T) {
			t.Setenv(unsyncedEnv, "1")
			noticed(t, newPowered(t, 1, store))
		})
		t.Run(string(store)+" on a disk that lies", func(t *testing.T) {
			c := newPowered(t, 1, store)
			c.on() // what is there before is there
			c.verify(t)
			for _, disk := range c.disks {
				disk.Lie()
			}
			c.load()
			c.cut()
			noticed(t, c)
		})
	}
}

// noticed cuts the power until something is amiss.
func noticed(t *testing.T, c *powered) {
	t.Helper()
	for range 20 {
		if err := c.tryOn(); err != nil {
			t.Logf("noticed after %d cuts: a node does not start: %v", c.cuts, err)
			return
		}
		if faults := c.ledger.verify(t, c.client); len(faults) > 0 {
			t.Logf("noticed after %d cuts: %d faults, such as: %s", c.cuts, len(faults), faults[0])
			return
		}
		c.load()
		c.cut()
	}
	t.Error("nothing was noticed")
}
