package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
)

// restoreAll makes a new cluster of a backup, with other addresses, or the same.
func (h *harness) restoreAll(file []byte, tune func(*cluster.RestoreConfig)) (*harness, cluster.Restored) {
	h.t.Helper()
	fresh := newHarness(h.t, len(h.cfgs), nil)
	var restored cluster.Restored
	for id, cfg := range fresh.cfgs {
		rc := cluster.RestoreConfig{ID: id, DataDir: cfg.DataDir, Peers: cfg.Peers, LogStore: cfg.LogStore}
		if tune != nil {
			tune(&rc)
		}
		r, err := cluster.Restore(context.Background(), rc, bytes.NewReader(file))
		if err != nil {
			h.t.Fatal(err)
		}
		if restored.Founding.ClusterID != "" && restored.Founding.ClusterID != r.Founding.ClusterID {
			h.t.Fatalf("nodes of two clusters: %+v and %+v", restored, r)
		}
		restored = r
	}
	return fresh, restored
}

// A restored cluster has the holds of the backup, each with the time left that it
// had, grants tokens that the old cluster never did, in either log store, and goes on
// over restarts and for nodes that missed all of it.
func TestRestore(t *testing.T) {
	t.Parallel()
	for _, store := range []cluster.LogStore{cluster.WAL, cluster.BoltDB} {
		t.Run(string(store), func(t *testing.T) {
			t.Parallel()
			h := startHarness(t, 3, nil)
			c := h.client()
			held := acquire(t, c, "held", "alice", time.Hour)
			acquire(t, c, "freed", "bob", time.Hour)
			if err := c.Release(t.Context(), "freed"); err != nil {
				t.Fatal(err)
			}
			file := saved(t, c)
			after := acquire(t, c, "after", "carol", time.Hour)
			was, s := readInto(t, file)
			old := s.Header.ClusterID

			fresh, restored := h.restoreAll(file, func(rc *cluster.RestoreConfig) { rc.LogStore = store })
			if restored.Founding.ClusterID == fmt.Sprintf("%x", old) || restored.Holds != 1 {
				t.Fatalf("restored: %+v", restored)
			}
			for id := range fresh.cfgs {
				fresh.start(id)
			}
			leader := fresh.leader()
			if got, err := leader.Get(t.Context(), "held"); err != nil || got.Token != held.Token || got.Owner != "alice" {
				t.Errorf("what was held: %+v, %v", got, err)
			}
			deadline, _ := was.DeadlineOf("held", held.Token)
			left := time.Duration(deadline.At - was.Clock())
			if clock := leader.Clock(); clock < was.Clock() || time.Duration(clock-was.Clock()) > time.Minute || left < 59*time.Minute {
				t.Errorf("the clock went from %v to %v, with %v left", was.Clock(), clock, left)
			}
			for _, name := range []string{"freed", "after"} {
				if got, err := leader.Get(t.Context(), name); !errors.Is(err, sema.ErrNotFound) {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
			}
			next := acquire(t, leader, "after", "dave", time.Hour)
			if next.Status != sema.Acquired || next.Token <= after.Token || next.Token != restored.LastToken+1 {
				t.Errorf("the first token is %d, after %d and %d", next.Token, restored.LastToken, after.Token)
			}
			lc := leader.Client()
			defer lc.Close()
			if _, err := lc.TouchToken(t.Context(), "held", held.Token); err != nil {
				t.Errorf("the holder's touch: %v", err)
			}
			fresh.restart()
			if got, err := fresh.leader().Get(t.Context(), "after"); err != nil || got.Token != next.Token {
				t.Errorf("after a restart: %+v, %v", got, err)
			}
		})
	}
}

// restart stops all nodes and starts them again.
func (h *harness) restart() {
	h.t.Helper()
	for id := range h.cfgs {
		h.close(id)
	}
	for id := range h.cfgs {
		h.start(id)
	}
}

// Nodes of the old cluster and of the new one, or of two that were made of one backup
// in different ways, never talk, even at the same addresses.
func TestRestoredIsAnotherCluster(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	acquire(t, h.leader(), "job", "alice", time.Hour)
	file := saved(t, h.leader().Client())
	ids := map[string]string{}
	for _, name := range []string{"as it is", "without holds", "again", "of another name"} {
		rc := cluster.RestoreConfig{ID: "n1", DataDir: t.TempDir(), Peers: h.cfgs["n1"].Peers, DropHolds: name == "without holds"}
		if name == "again" {
			rc.Generation = 2
		}
		if name == "of another name" {
			rc.ClusterName = &name
		}
		r, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if before, twice := ids[r.Founding.ClusterID]; twice {
			t.Errorf("restored %s it is the same cluster as %s", name, before)
		}
		ids[r.Founding.ClusterID] = name
	}
	// n1 comes back with the old disk's cluster at its address, and a restored n2 there.
	for id := range h.cfgs {
		h.close(id)
	}
	old, peers := h.cfgs["n1"], h.cfgs["n2"].Peers
	for _, id := range []string{"n1", "n2", "n3"} {
		cfg := h.cfgs[id]
		cfg.DataDir = filepath.Join(t.TempDir(), id)
		if _, err := cluster.Restore(t.Context(), cluster.RestoreConfig{ID: id, DataDir: cfg.DataDir, Peers: peers}, bytes.NewReader(file)); err != nil {
			t.Fatal(err)
		}
		h.cfgs[id] = cfg
		h.start(id)
	}
	h.leader() // it is founded
	h.close("n1")
	leader := h.leader()
	h.cfgs["n1"] = old
	stranger := h.start("n1")
	acquire(t, leader, "new", "bob", time.Hour)
	eventually(t, "the old node is turned away", func() error {
		if !strings.Contains(h.logs.String(), "another cluster") {
			return errors.New("nobody says so")
		}
		return nil
	})
	if l := stranger.Leader(); l.ID != "" {
		t.Errorf("the old node follows %+v", l)
	}
}

// An old node that comes back does not end what was restored at its cluster's addresses,
// and learns nothing there, even if that is one node alone.
func TestOldNodeComesBack(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	acquire(t, h.leader(), "job", "alice", time.Hour)
	file := saved(t, h.leader().Client())
	for id := range h.cfgs {
		h.close(id)
	}
	cfg := h.cfgs["n1"]
	cfg.DataDir, cfg.Peers = filepath.Join(t.TempDir(), "n1"), cfg.Peers[:1]
	if _, err := cluster.Restore(t.Context(), cluster.RestoreConfig{ID: "n1", DataDir: cfg.DataDir, Peers: cfg.Peers}, bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	h.cfgs["n1"] = cfg
	restored := h.start("n1")
	if err := restored.WaitLeader(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.start("n2") // with its old disk, by which n1 is a member
	eventually(t, "n1 is asked for its vote, and says what to do", func() error {
		if !strings.Contains(h.logs.String(), "stop that node, and remove its directory") {
			return errors.New("it does not")
		}
		return nil
	})
	acquire(t, restored, "new", "bob", time.Hour)
	if err := restored.Err(); err != nil {
		t.Errorf("the restored node ended: %v", err)
	}
	if l := h.nodes["n2"].Leader(); l.ID != "" {
		t.Errorf("the old node follows %+v", l)
	}
}

// What cannot be restored is refused with a reason, and leaves nothing behind.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	acquire(t, h.leader(), "job", "alice", time.Hour)
	file := saved(t, h.leader().Client())
	peers := h.cfgs["n1"].Peers
	flipped := bytes.Clone(file)
	flipped[len(flipped)/2] ^= 1
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		file []byte
		tune func(*cluster.RestoreConfig)
		want string
	}{
		{"nothing", nil, nil, "something else, or empty"},
		{"a part", file[:len(file)-1], nil, "ends too early"},
		{"a bit", flipped, nil, ""},
		{"not among the peers", file, func(c *cluster.RestoreConfig) { c.ID = "n9" }, `"n9"`},
		{"no peers", file, func(c *cluster.RestoreConfig) { c.Peers = nil }, "peers"},
		{"a generation that is too high", file, func(c *cluster.RestoreConfig) { c.Generation = fsm.MaxGeneration + 1 }, "generation"},
		{"a directory in use", file, func(c *cluster.RestoreConfig) { c.DataDir = h.cfgs["n1"].DataDir }, "not empty"},
		{"a directory of other things", file, func(c *cluster.RestoreConfig) { c.DataDir = full }, "holds mine"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := cluster.RestoreConfig{ID: "n1", DataDir: filepath.Join(t.TempDir(), "n1"), Peers: peers}
			if tc.tune != nil {
				tc.tune(&cfg)
			}
			if r, err := cluster.Restore(t.Context(), cfg, bytes.NewReader(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("want %q, got %+v, %v", tc.want, r, err)
			}
			if cfg.DataDir == full || cfg.DataDir == h.cfgs["n1"].DataDir {
				return
			}
			if _, err := os.Stat(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s was made: %v", cfg.DataDir, err)
			}
		})
	}
}

// changed is a backup that says of itself what lie makes of it, of a state that was changed.
func changed(t *testing.T, file []byte, change func(*fsm.Machine), lie func(*fsm.Facts)) []byte {
	t.Helper()
	m, s := readInto(t, file)
	change(m)
	state, err := m.Backup()
	if err != nil {
		t.Fatal(err)
	}
	defer state.Release()
	s.Header.Facts = state.Facts()
	lie(&s.Header.Facts)
	var to bytes.Buffer
	if err := backup.Write(&to, s.Header, state.WriteSnapshot); err != nil {
		t.Fatal(err)
	}
	return to.Bytes()
}

// A backup with good checksums that says of itself what is not so, or whose state cannot
// be, is damaged.
func TestRestoreRefusesLies(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	acquire(t, h.leader(), "job", "alice", time.Hour)
	file := saved(t, h.leader().Client())
	as := func(*fsm.Machine) {}
	honest := func(*fsm.Facts) {}
	farFuture := func(m *fsm.Machine) {
		data, err := fsm.AppendBatch(nil, fsm.Batch{Stamp: fsm.Stamp{Term: 1, Clock: 1 << 62}})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Apply(&raft.Log{Index: 1, Term: 1, Data: data}).([]fsm.Result); !ok {
			t.Fatal(m.Err())
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*fsm.Machine)
		lie    func(*fsm.Facts)
		want   string // "": it is none
	}{
		{"nothing", as, honest, ""},
		{"the clock", as, func(f *fsm.Facts) { f.Clock++ }, "it says of itself"},
		{"the last token", as, func(f *fsm.Facts) { f.LastToken++ }, "it says of itself"},
		{"no last token", as, func(f *fsm.Facts) { f.LastToken = 0 }, "it says of itself"},
		{"holds", as, func(f *fsm.Facts) { f.Holds++ }, "it says of itself"},
		{"waiting", as, func(f *fsm.Facts) { f.Waiting++ }, "it says of itself"},
		{"clients", as, func(f *fsm.Facts) { f.Clients-- }, "it says of itself"},
		{"a clock near its end", farFuture, honest, "cluster time is"},
	} {
		cfg := cluster.RestoreConfig{ID: "n1", DataDir: filepath.Join(t.TempDir(), "n1"), Peers: h.cfgs["n1"].Peers}
		_, err := cluster.Restore(t.Context(), cfg, bytes.NewReader(changed(t, file, tc.change, tc.lie)))
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("a lie about %s: want %q, got %v", tc.name, tc.want, err)
		}
	}
}

// The generation that zero stands for is above that of the backup, and one that is not is
// refused.
func TestRestoreIntoAGeneration(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	acquire(t, h.leader(), "job", "alice", time.Hour)
	file := changed(t, saved(t, h.leader().Client()), func(m *fsm.Machine) {
		if err := m.Succeed(fsm.Succession{Generation: 3}); err != nil {
			t.Fatal(err)
		}
	}, func(*fsm.Facts) {})
	for _, tc := range []struct{ asked, want uint64 }{{0, 4}, {1, 0}, {3, 0}, {4, 4}, {9, 9}} {
		cfg := cluster.RestoreConfig{ID: "n1", DataDir: filepath.Join(t.TempDir(), "n1"), Peers: h.cfgs["n1"].Peers, Generation: tc.asked}
		r, err := cluster.Restore(t.Context(), cfg, bytes.NewReader(file))
		switch {
		case tc.want == 0 && (err == nil || !strings.Contains(err.Error(), "want 4 to")):
			t.Errorf("generation %d after 3: %+v, %v", tc.asked, r, err)
		case tc.want != 0 && (err != nil || r.Generation != tc.want || r.LastToken != tc.want<<fsm.TokenShift):
			t.Errorf("generation %d after 3: %+v, %v, want %d", tc.asked, r, err, tc.want)
		}
	}
}

// A restore that was killed anywhere is begun anew by the next one, and no node takes
// what it left behind for its own.
func TestRestoreIsKilled(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	held := acquire(t, h.leader(), "job", "alice", time.Hour)
	file := saved(t, h.leader().Client())
	h.close("n1")
	cfg := h.cfgs["n1"]
	cfg.DataDir = t.TempDir()
	rc := cluster.RestoreConfig{ID: "n1", DataDir: cfg.DataDir, Peers: cfg.Peers}
	for _, left := range [][]string{{}, {"raft.db"}, {"raft.db", "wal/x", "snapshots/1-1-1.tmp/state.bin"}, {"raft.db", "node.json.123"}} {
		for _, name := range append(left, "restoring") {
			path := filepath.Join(cfg.DataDir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("half"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := cluster.Open(t.Context(), cfg); err == nil {
			n.Close()
			t.Fatalf("a node started with %v", left)
		}
		if _, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file)); err != nil {
			t.Fatal(err)
		}
		if _, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file)); err == nil || !strings.Contains(err.Error(), "not empty") {
			t.Fatalf("over what was restored: %v", err)
		}
		node, err := cluster.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := node.WaitLeader(t.Context()); err != nil {
			t.Error(err)
		}
		if got, err := node.Get(t.Context(), "job"); err != nil || got.Token != held.Token {
			t.Errorf("%+v, %v", got, err)
		}
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"node.json", "raft.db", "wal", "snapshots"} {
			if err := os.RemoveAll(filepath.Join(cfg.DataDir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
