package memdisk_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/memdisk"
)

// set is a state machine that knows which entries were applied.
type set struct {
	mu      sync.Mutex
	applied map[string]bool
}

func (s *set) Apply(entry *raft.Log) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied[string(entry.Data)] = true
	return nil
}

func (s *set) has(entry string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.applied[entry]
}

func (s *set) Snapshot() (raft.FSMSnapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines strings.Builder
	for entry := range s.applied {
		fmt.Fprintln(&lines, entry)
	}
	return lineSnapshot(lines.String()), nil
}

func (s *set) Restore(r io.ReadCloser) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applied = make(map[string]bool)
	for _, entry := range strings.Fields(string(data)) {
		s.applied[entry] = true
	}
	return r.Close()
}

type lineSnapshot string

func (s lineSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := io.WriteString(sink, string(s)); err != nil {
		return err
	}
	return sink.Close()
}

func (lineSnapshot) Release() {}

// node is a cluster of one.
type node struct {
	raft    *raft.Raft
	machine *set
	disk    host.Disk
	trans   *raft.InmemTransport
}

func startNode(t *testing.T, disk *memdisk.Disk) *node {
	t.Helper()
	n := &node{machine: &set{applied: make(map[string]bool)}, disk: open(t, disk)}
	var addr raft.ServerAddress
	addr, n.trans = raft.NewInmemTransport("n1")
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger = "n1", hclog.NewNullLogger()
	cfg.SnapshotInterval, cfg.SnapshotThreshold, cfg.TrailingLogs = time.Second, 20, 10
	existing, err := raft.HasExistingState(n.disk, n.disk, n.disk)
	noError(t, err)
	if !existing {
		members := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: addr}}}
		noError(t, raft.BootstrapCluster(cfg, n.disk, n.disk, n.disk, n.trans, members))
	}
	n.raft, err = raft.NewRaft(cfg, n.machine, n.disk, n.disk, n.disk, n.trans)
	noError(t, err)
	for state := range n.raft.LeaderCh() {
		if state {
			break
		}
	}
	noError(t, n.raft.Barrier(time.Minute).Error())
	return n
}

// stop ends the node's goroutines. Its disk may be gone.
func (n *node) stop() {
	_ = n.raft.Shutdown().Error()
	_ = n.disk.Close()
	_ = n.trans.Close()
}

// A raft node is killed in the middle of its work, again and again. Every entry it
// has acknowledged is there after each start.
func TestRaftFindsWhatItAcknowledged(t *testing.T) {
	acked, stats := killRaft(t, false)
	t.Logf("%d entries acknowledged; %+v", len(acked), stats)
	if missing := stats.missing; missing > 0 {
		t.Fatalf("%d of %d acknowledged entries are missing", missing, len(acked))
	}
	if stats.ArmedCuts < 5 || stats.Lost.Entries < 5 || stats.snapshots < 3 || len(acked) < 100 {
		t.Fatal("too little has happened")
	}
}

// The same test sees that syncs were left out.
func TestRaftMissesWhatWasForgotten(t *testing.T) {
	if acked, stats := killRaft(t, true); stats.missing == 0 || stats.Forgotten == 0 {
		t.Fatalf("none of %d acknowledged entries is missing: %+v", len(acked), stats.Stats)
	}
}

type killStats struct {
	memdisk.Stats
	missing   int // acknowledged entries
	snapshots int // starts that found one
}

func killRaft(t *testing.T, forgetSync bool) (acked []string, stats killStats) {
	synctest.Test(t, func(t *testing.T) {
		var disk memdisk.Disk
		var mu sync.Mutex // guards acked
		disk.SetLatency(time.Millisecond, 5*time.Millisecond)
		disk.ForgetSync(forgetSync)
		disk.SetWriteback(time.Hour)
		for life := range 20 {
			n := startNode(t, &disk)
			for _, entry := range acked {
				if !n.machine.has(entry) {
					stats.missing++
				}
			}
			if stats.missing > 0 {
				n.stop()
				break
			}
			if list, err := n.disk.List(); err == nil && len(list) > 0 {
				stats.snapshots++
			}
			var appliers sync.WaitGroup
			for a := range 3 {
				appliers.Go(func() {
					for i := 0; ; i++ {
						entry := fmt.Sprintf("%d-%d-%d", life, a, i)
						if n.raft.Apply([]byte(entry), time.Second).Error() != nil {
							return
						}
						mu.Lock()
						acked = append(acked, entry)
						mu.Unlock()
						<-time.After(rand.N(20 * time.Millisecond))
					}
				})
			}
			<-time.After(time.Second + rand.N(time.Second))
			if keep := life%4 == 0; life%2 == 0 {
				<-disk.CutAtNextWrite(keep)
			} else {
				disk.Cut(life%4 == 1)
			}
			n.stop()
			appliers.Wait()
		}
		stats.Stats = disk.Stats()
	})
	return acked, stats
}
