package cluster_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/internal/crashdisk"
)

var cuts = flag.Int("cuts", 3, "how often the power of each cluster is cut")

// TestPowerCuts cuts the power of all nodes at once, at random moments under load, and
// starts them again from what their disks have left; and again, from there. Nothing that
// was acknowledged is lost, and tokens only rise. A node alone has no other that could
// help it out; three have a majority to lose.
//
// With -cuts 200 it takes a while.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	for _, store := range []cluster.LogStore{cluster.WAL, cluster.BoltDB} {
		for _, nodes := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d nodes", store, nodes), func(t *testing.T) {
				t.Parallel()
				c := newPowered(t, nodes, store)
				for range *cuts {
					c.on()
					c.verify(t)
					c.load()
					c.cut()
				}
				c.on()
				c.verify(t)
				c.report(t)
			})
		}
	}
}

// powered is a cluster whose power can be cut: each node is a process with its files
// on a disk of its own.
type powered struct {
	*harness
	ledger    *ledger
	r         *rand.Rand
	disks     map[string]*crashdisk.Disk
	mounts    map[string]string
	processes map[string]*exec.Cmd
	client    *client.Client
	settle    func() // stops the load

	cuts, pending, lost int
}

const diskSize = 96 << 20 // bbolt's file doubles

func newPowered(t *testing.T, nodes int, store cluster.LogStore) *powered {
	t.Helper()
	t.Logf("-cutseed %d", *cutSeed)
	c := &powered{ledger: newLedger(), r: rand.New(rand.NewPCG(*cutSeed, uint64(nodes))),
		disks: map[string]*crashdisk.Disk{}, mounts: map[string]string{}, processes: map[string]*exec.Cmd{}}
	c.harness = newHarness(t, nodes, func(cfg *cluster.Config) {
		cfg.LogStore, cfg.LogSegmentSize = store, 128<<10
		cfg.SnapshotInterval, cfg.SnapshotThreshold, cfg.TrailingLogs = 50*time.Millisecond, 200, 100
		cfg.ElectionTimeout = 300 * time.Millisecond
		if nodes == 1 {
			cfg.ElectionTimeout = 50 * time.Millisecond
		}
	})
	for id, cfg := range c.cfgs {
		disk, err := crashdisk.New(t.TempDir(), diskSize)
		if err != nil {
			if os.Getenv("SEMA_REQUIRE_CRASHDISK") != "" {
				t.Fatal(err)
			}
			t.Skipf("no disks that can lose power here: %v", err)
		}
		t.Cleanup(func() {
			if err := disk.Close(); err != nil {
				t.Error(err)
			}
		})
		if err := disk.Format(diskSize, []int{1024, 4096}[c.r.IntN(2)]); err != nil {
			t.Fatal(err)
		}
		c.disks[id], c.mounts[id] = disk, t.TempDir()
		cfg.DataDir, cfg.GRPCAddr = filepath.Join(c.mounts[id], "node"), freeAddr(t)
		c.cfgs[id] = cfg
	}
	t.Cleanup(c.off)
	return c
}

// on mounts the disks and starts the nodes.
func (c *powered) on() {
	c.t.Helper()
	if err := c.tryOn(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *powered) tryOn() error {
	var endpoints []string
	for id, disk := range c.disks {
		options := []string{"data=ordered", "data=writeback"}[c.r.IntN(2)]
		if err := disk.Mount(c.mounts[id], options); err != nil {
			return err
		}
		c.processes[id] = nil // but mounted
		process, err := c.tryStartProcess(id)
		if err != nil {
			return err
		}
		c.processes[id] = process
		endpoints = append(endpoints, c.cfgs[id].GRPCAddr)
	}
	var err error
	c.client, err = client.New(client.Config{Endpoints: endpoints})
	return err
}

// off kills the nodes and unmounts the disks, as far as that was not done.
func (c *powered) off() {
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
	for id, process := range c.processes {
		if process != nil {
			c.sigkill(process)
		}
		if err := crashdisk.Unmount(c.mounts[id]); err != nil {
			c.t.Error(err)
		}
		delete(c.processes, id)
	}
}

// load lets workers work until the next cut, which comes at a random moment.
func (c *powered) load() {
	ctx, cancel := context.WithCancel(context.Background())
	wait := c.ledger.work(ctx, c.client, 64)
	c.settle = func() {
		cancel()
		wait()
	}
	<-time.After(100*time.Millisecond + rand.N(500*time.Millisecond))
	if c.r.IntN(4) == 0 {
		return
	}
	for soon := time.Now().Add(50 * time.Millisecond); time.Now().Before(soon); { // when there is something to lose
		for _, disk := range c.disks {
			if disk.Pending() > 0 {
				return
			}
		}
	}
}

// cut cuts the power of all nodes: what was acknowledged until that moment must be on
// what the disks have at it.
func (c *powered) cut() {
	c.t.Helper()
	ids := slices.Sorted(maps.Keys(c.disks))
	var disks []*crashdisk.Disk
	for _, id := range ids {
		disks = append(disks, c.disks[id])
	}
	moments := crashdisk.Capture(c.ledger.powerFails, disks...)
	c.settle()
	c.off()
	c.cuts++
	for i, disk := range disks {
		image, pending, lost := moments[i].Image(c.r)
		c.pending, c.lost = c.pending+pending, c.lost+lost
		disk.Load(image)
	}
}

// verify holds what the cluster says to what it has acknowledged.
func (c *powered) verify(t testing.TB) {
	t.Helper()
	for _, fault := range c.ledger.verify(t, c.client) {
		t.Error(fault)
	}
	if t.Failed() {
		t.FailNow()
	}
}

func (c *powered) report(t testing.TB) {
	t.Helper()
	l := c.ledger
	t.Logf("%d cuts; acknowledged: %d acquires, %d releases, lost: 0; sectors written and not flushed at a cut: %d, of them lost: %d; torn appends removed: %d",
		c.cuts, l.acquired, l.released, c.pending, c.lost, strings.Count(c.logs.String(), "an append was interrupted"))
	if l.acquired == 0 || l.released == 0 {
		t.Error("nothing was acknowledged")
	}
	if c.cuts >= 20 && c.lost == 0 {
		t.Error("no cut has cost anything: the disks had nothing to lose")
	}
}
