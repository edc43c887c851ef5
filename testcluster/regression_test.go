package testcluster_test

import (
	"testing"
	"time"

	"github.com/semanode/sema/testcluster"
)

// TestChaosFoundBefore has again what chaos found in the product, see
// docs/testing.md. A seed alone does not bring a failure back every time: each of
// these narrows the faults to those that matter, and goes on for a while.
func TestChaosFoundBefore(t *testing.T) {
	for _, c := range []struct {
		name   string
		seed   uint64
		faults []string
		length time.Duration
	}{
		{"a follower is stuck in raft's pipeline, and the node cannot be stopped", 462797336, []string{"duplicate", "reorder", "disk-slow", "disk-error", "kill"}, 20 * time.Minute},
		{"raft stops and leaves an entry without an answer", 829844413, []string{"kill", "power-cut", "power-cut-mid-write", "disk-error"}, 20 * time.Minute},
		{"a log that blocks keeps the node's watchdog", 2329056195, []string{"pause-long", "disk-stalled", "disk-full"}, 20 * time.Minute},
		{"a node that ends waits for one that does not answer", 1357415656, []string{"isolate", "halves", "disk-full", "disk-error", "transfer"}, 20 * time.Minute},
		{"a deposed leader writes entries of the next term", 2329056195, []string{"pause-long", "disk-stalled", "disk-full"}, time.Hour},
		{"a disk stalls for just as long as the watchdog allows", 3956076003, []string{"disk-stalled"}, 20 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			opts := testcluster.ChaosOptions{Duration: shortened(c.length), Options: testcluster.Options{Seed: c.seed, ElectionTimeout: 2 * time.Second},
				Workload: testcluster.Workload{Think: 5 * time.Second}}
			for _, name := range c.faults {
				f, err := testcluster.FaultNamed(name)
				if err != nil {
					t.Fatal(err)
				}
				opts.Faults = append(opts.Faults, f)
			}
			testcluster.Chaos(t, opts)
		})
	}
}

// shortened is a virtual time as far as the race detector, or -short, leaves room
// for it.
func shortened(d time.Duration) time.Duration {
	if raceEnabled || testing.Short() {
		return d / 5
	}
	return d
}
