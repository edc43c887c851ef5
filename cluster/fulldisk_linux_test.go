package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
)

var fills = flag.Int("fills", 4, "how often each disk fills up")

// TestFullDisk fills a node's disk under load, again and again, with more or less room
// for the next write: the node ends and says why; while there is no room it starts, or
// says why not; and when there is room it starts and nothing that was acknowledged is
// lost.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, store := range []cluster.LogStore{cluster.WAL, cluster.BoltDB} {
		t.Run(string(store), func(t *testing.T) {
			f := newFilled(t, store)
			refused := 0
			for range *fills {
				f.process = f.startProcess("n1")
				f.verify(t)
				f.leave(t, f.r.Int64N(300<<10))
				f.fill(t)
				if process, err := f.tryStartProcess("n1"); err == nil {
					f.sigkill(process)
				} else if refused++; !strings.Contains(f.news(), "no space left on device") {
					t.Fatalf("it does not start, and does not say why: %v\n%s", err, f.logs)
				}
				f.leave(t, -1)
			}
			f.process = f.startProcess("n1")
			f.verify(t)
			t.Logf("full %d times, refused to start then %d times; acknowledged: %d acquires, %d releases, lost: 0", *fills, refused, f.ledger.acquired, f.ledger.released)
		})
	}
}

// filled is a node whose disk fills up.
type filled struct {
	*harness
	ledger  *ledger
	r       *rand.Rand
	dir     string // of the disk
	process *exec.Cmd
	told    int // how much of its log was looked at
}

const tmpfsSize = 24 << 20

func newFilled(t *testing.T, store cluster.LogStore) *filled {
	t.Helper()
	t.Logf("-cutseed %d", *cutSeed)
	f := &filled{ledger: newLedger(), dir: t.TempDir(), r: rand.New(rand.NewPCG(*cutSeed, 0))}
	if err := unix.Mount("none", f.dir, "tmpfs", 0, fmt.Sprintf("size=%d", tmpfsSize)); err != nil {
		if os.Getenv("SEMA_REQUIRE_CRASHDISK") != "" {
			t.Fatal(err)
		}
		t.Skipf("no mount of our own here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(f.dir, 0); err != nil {
			t.Error(err)
		}
	})
	f.harness = newHarness(t, 1, func(c *cluster.Config) {
		c.DataDir, c.GRPCAddr = filepath.Join(f.dir, "node"), freeAddr(t)
		c.LogStore, c.LogSegmentSize = store, 128<<10
		c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 100*time.Millisecond, 2000, 1000
	})
	return f
}

// leave leaves this much room on the disk; all there is if it is negative.
func (f *filled) leave(t *testing.T, room int64) {
	t.Helper()
	ballast := filepath.Join(f.dir, "ballast")
	if err := os.RemoveAll(ballast); err != nil {
		t.Fatal(err)
	}
	if room < 0 {
		return
	}
	out, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for {
		var have unix.Statfs_t
		if err := unix.Statfs(f.dir, &have); err != nil {
			t.Fatal(err)
		}
		size := int64(have.Bavail)*have.Bsize - room
		if size <= 0 {
			return
		}
		err := unix.Fallocate(int(out.Fd()), 0, 0, size)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.ENOSPC) { // else the node has taken some meanwhile, for a snapshot
			t.Fatal(err)
		}
	}
}

// fill works until the node ends.
func (f *filled) fill(t *testing.T) {
	t.Helper()
	c := f.client(t)
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	wait := f.ledger.work(ctx, c, 64)
	_ = f.process.Wait() // what it says tells
	f.ledger.powerFails()
	cancel()
	wait()
	if said := f.news(); !strings.Contains(said, "disk failed: ") || !strings.Contains(said, "no space left on device") {
		t.Fatalf("the node ended and said: %s", said)
	}
}

// news is what the nodes have logged since it was asked the last time.
func (f *filled) news() string {
	all := f.logs.String()
	defer func() { f.told = len(all) }()
	return all[f.told:]
}

func (f *filled) client(t *testing.T) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: []string{f.cfgs["n1"].GRPCAddr}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *filled) verify(t *testing.T) {
	t.Helper()
	c := f.client(t)
	defer c.Close()
	for _, fault := range f.ledger.verify(t, c) {
		t.Error(fault)
	}
	if t.Failed() {
		t.FailNow()
	}
}
