package testcluster

import (
	"cmp"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema/cluster"
)

// Options says what cluster to start. The zero value is three nodes whose disks
// are in memory, on a network of 0.2 to 1 ms.
type Options struct {
	// Nodes is how many there are, n1 to n<Nodes>. 3 if zero.
	Nodes int
	// OnDisk keeps what nodes write in files below tb.TempDir(), with the log store
	// that nodes use otherwise. What a killed node had written stays then, as after
	// the death of a process; only disks in memory can lose what was not synced.
	OnDisk bool
	// LogStore is that of nodes OnDisk. [cluster.DefaultLogStore] if empty.
	LogStore cluster.LogStore
	// MinLatency and MaxLatency are how long what is sent takes, without faults.
	// 0.2 and 1 ms if both are zero.
	MinLatency, MaxLatency time.Duration
	// ElectionTimeout is that of the nodes. [cluster.DefaultElectionTimeout] if zero.
	// The time that a test takes is mostly heartbeats, about ten in each such
	// timeout to each node: a longer one makes virtual time pass faster.
	ElectionTimeout time.Duration
	// Tune, if set, may change a node's configuration before it starts.
	Tune func(*cluster.Config)
	// Seed decides all that is left to chance here; raft has chance of its own. If
	// zero, one is drawn.
	Seed uint64
	// LogLevel is of the logs that a test shows when it fails. Info if zero.
	LogLevel hclog.Level
}

// within reports an option outside of its limits.
func within[T int | time.Duration](name string, value, low, high T) error {
	if value < low || value > high {
		return fmt.Errorf("testcluster: %s is %v: %v to %v are possible", name, value, low, high)
	}
	return nil
}

const (
	maxWorkers  = 1000
	maxDuration = 10_000 * time.Hour
)

// maxNodes bounds a cluster: consensus among more is of no use.
const maxNodes = 9

func (o Options) withDefaults() (Options, error) {
	o.Nodes = cmp.Or(o.Nodes, 3)
	if err := within("Nodes", o.Nodes, 1, maxNodes); err != nil {
		return o, err
	}
	if o.MinLatency == 0 && o.MaxLatency == 0 {
		o.MinLatency, o.MaxLatency = 200*time.Microsecond, time.Millisecond
	}
	if o.MinLatency < 0 || o.MaxLatency < o.MinLatency {
		return o, fmt.Errorf("testcluster: latency from %v to %v: it must not be negative, nor its end before its beginning", o.MinLatency, o.MaxLatency)
	}
	o.ElectionTimeout = cmp.Or(o.ElectionTimeout, cluster.DefaultElectionTimeout)
	o.Seed = cmp.Or(o.Seed, drawSeed())
	if o.LogLevel == hclog.NoLevel {
		o.LogLevel = hclog.Info
	}
	return o, nil
}
