package testcluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/semanode/sema/testcluster/internal/gate"
)

// processFaults are those of nodes' processes and the power of their machines.
func processFaults() []Fault {
	return []Fault{
		{
			Name: "kill", About: "a node's process dies; what it had written is there when it comes back",
			MinFor: 100 * time.Millisecond, MaxFor: 30 * time.Second, Applies: spared,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury { return c.killing(on, false) },
		},
		{
			Name: "power-cut", About: "a machine loses power, and with it what was not synced; the others hear nothing of it",
			MinFor: 100 * time.Millisecond, MaxFor: 30 * time.Second, Applies: spared,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury { return c.killing(on, true) },
		},
		{
			Name: "power-cut-mid-write", About: "a machine loses power between a write to its log and the sync, which may or may not survive",
			MinFor: 5 * time.Second, MaxFor: 30 * time.Second,
			Applies: func(c *Cluster, on string) bool { return !c.opts.OnDisk && spared(c, on) },
			Inject: func(c *Cluster, on string, chance *rand.Rand) Injury {
				return c.cuttingMidWrite(on, chance.IntN(2) == 0)
			},
		},
		{
			Name: "power-cut-all", About: "all machines lose power at once",
			On: OnCluster, MinFor: 100 * time.Millisecond, MaxFor: 20 * time.Second, Applies: allWell,
			Inject: func(c *Cluster, _ string, _ *rand.Rand) Injury {
				c.every(func(m *machine) { m.kill(true) })
				return Injury{Undo: func() error { return c.revive(c.machines...) }, Proof: happened("cut the power of all")}
			},
		},
		{
			Name: "pause-short", About: "a node's process is stopped for less than an election timeout",
			MinFor: 20 * time.Millisecond, MaxFor: 300 * time.Millisecond, Applies: spared,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury { return pausing(&c.machine(on).gate) },
		},
		{
			Name: "pause-long", About: "a node's process is stopped for many election timeouts",
			MinFor: 5 * time.Second, MaxFor: 60 * time.Second, Applies: spared,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury { return pausing(&c.machine(on).gate) },
		},
		{
			Name: "transfer", About: "a node is stopped cleanly, which hands leadership over if it leads",
			MinFor: 100 * time.Millisecond, MaxFor: 10 * time.Second, Applies: spared,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury {
				m := c.machine(on)
				node := m.running()
				led := node != nil && node.IsLeader()
				err := m.stop()
				proof := "stopped"
				if led {
					proof = "handed over and stopped"
				}
				return Injury{
					Undo:  func() error { return errors.Join(err, c.revive(m)) },
					Proof: happened(proof),
				}
			},
		},
	}
}

func pausing(g *gate.Gate) Injury {
	before := g.Waited()
	g.Shut()
	return Injury{Undo: lifting(g.Open), Proof: did("goroutines stopped:", func() int64 { return g.Waited() - before })}
}

func (c *Cluster) killing(id string, powerCut bool) Injury {
	m := c.machine(id)
	gone := m.kill(powerCut)
	return Injury{
		Undo:  func() error { return c.revive(m) },
		Proof: happened(fmt.Sprintf("killed, %d entries lost unsynced", gone.Entries)),
	}
}

// cuttingMidWrite arms a power cut that comes with the next write.
func (c *Cluster) cuttingMidWrite(id string, keep bool) Injury {
	m := c.machine(id)
	m.disk.SetLatency(0, time.Millisecond) // a window for the cut
	fired := m.disk.CutAtNextWrite(keep)
	over := make(chan struct{})
	var struck atomic.Bool
	cut := func() {
		struck.Store(true)
		m.kill(true)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-fired:
			cut()
		case <-over:
			select {
			case <-fired: // both at once
				cut()
			default:
			}
		}
	})
	return Injury{
		Undo: func() error {
			m.disk.Disarm()
			close(over)
			wg.Wait()
			m.disk.SetLatency(0, 0)
			return c.revive(m)
		},
		Proof: func() string {
			if struck.Load() {
				return fmt.Sprintf("cut mid-write, kept: %v", keep)
			}
			return ""
		},
	}
}

// revive starts the nodes that do not run. One whose disk was lost comes back in its own
// time.
func (c *Cluster) revive(machines ...*machine) error {
	var errs []error
	for _, m := range machines {
		switch {
		case m.isOut():
			c.replace(m)
		case m.running() == nil:
			errs = append(errs, m.restart(context.Background()))
		}
	}
	return errors.Join(errs...)
}

// clockFaults are those of machines' clocks.
func clockFaults() []Fault {
	rate := func(rate float64) func(*Cluster, string, *rand.Rand) Injury {
		return func(c *Cluster, on string, _ *rand.Rand) Injury {
			clock := c.machine(on).clock
			before := clock.read.Load()
			clock.setRate(rate)
			return Injury{Undo: lifting(func() { clock.setRate(1) }), Proof: did("readings at "+percent(rate)+":", func() int64 { return clock.read.Load() - before })}
		}
	}
	return []Fault{
		{
			Name: "clock-fast", About: "a node's clock gains 0.4 %, which is within the margin that clients allow for",
			MinFor: 10 * time.Second, MaxFor: 2 * time.Minute, Inject: rate(1.004),
		},
		{
			Name: "clock-slow", About: "a node's clock loses 20 %: holds last longer",
			MinFor: 10 * time.Second, MaxFor: time.Minute, Inject: rate(0.8),
		},
		{
			Name: "wall-jump", About: "a node's wall clock is set forward or back by up to a day",
			MinFor: time.Second, MaxFor: 2 * time.Minute,
			Inject: func(c *Cluster, on string, chance *rand.Rand) Injury {
				clock := c.machine(on).clock
				by := time.Duration(chance.Int64N(int64(48*time.Hour))) - 24*time.Hour
				before := clock.walls.Load()
				clock.jump(by)
				return Injury{
					Undo:  lifting(func() { clock.jump(-by) }),
					Proof: did(fmt.Sprintf("readings off by %v:", by.Round(time.Second)), func() int64 { return clock.walls.Load() - before }),
				}
			},
		},
	}
}

// diskFaults are those of nodes' disks.
func diskFaults() []Fault {
	failing := func(err error) func(*Cluster, string, *rand.Rand) Injury {
		return func(c *Cluster, on string, _ *rand.Rand) Injury {
			m := c.machine(on)
			before := m.disk.Stats()
			m.ailing.Add(1)
			m.disk.FailWrites(err)
			return Injury{
				Undo: func() error {
					m.ailing.Add(-1)
					m.disk.FailWrites(nil)
					return c.revive(m)
				},
				Proof: did("failed writes:", func() int64 { return int64(m.disk.Stats().Failed - before.Failed) }),
			}
		}
	}
	return []Fault{
		{
			Name: "disk-slow", About: "each sync of a node's disk takes 10 to 80 ms",
			MinFor: 5 * time.Second, MaxFor: 40 * time.Second, Applies: spared,
			Inject: func(c *Cluster, on string, chance *rand.Rand) Injury {
				disk, before := c.machine(on).disk, c.machine(on).disk.Stats()
				disk.SetLatency(time.Millisecond, time.Duration(10+chance.IntN(70))*time.Millisecond)
				return Injury{Undo: lifting(func() { disk.SetLatency(0, 0) }), Proof: did("slow operations:", func() int64 { return int64(disk.Stats().SlowSyncs - before.SlowSyncs) })}
			},
		},
		{
			Name: "disk-stalled", About: "a node's disk does not answer; beyond the watchdog's 10 s the node ends itself",
			MinFor: 500 * time.Millisecond, MaxFor: 40 * time.Second, Applies: spared,
			Inject: func(c *Cluster, on string, _ *rand.Rand) Injury {
				m, before := c.machine(on), c.machine(on).disk.Stats()
				m.ailing.Add(1)
				m.disk.Stall()
				return Injury{
					Undo: func() error {
						m.ailing.Add(-1)
						m.disk.Unstall()
						return c.revive(m)
					},
					Proof: did("stalled operations:", func() int64 { return int64(m.disk.Stats().Stalled - before.Stalled) }),
				}
			},
		},
		{
			Name: "disk-full", About: "a node's disk is full",
			MinFor: 5 * time.Second, MaxFor: 20 * time.Second, Applies: spared, Inject: failing(&fs.PathError{Op: "write", Path: "raft.db", Err: syscall.ENOSPC}),
		},
		{
			Name: "disk-error", About: "writes to a node's disk fail",
			MinFor: 5 * time.Second, MaxFor: 20 * time.Second, Applies: spared, Inject: failing(&fs.PathError{Op: "write", Path: "raft.db", Err: syscall.EIO}),
		},
	}
}
