package cluster_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/semanode/sema/cluster"
)

// usedDirectory returns the configuration of a node that runs no more, whose
// directory has a snapshot and entries behind it.
func usedDirectory(t *testing.T, store cluster.LogStore) cluster.Config {
	t.Helper()
	h := newHarness(t, 1, func(c *cluster.Config) {
		c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 10*time.Millisecond, 50, 20
		c.ElectionTimeout, c.LogStore = 50*time.Millisecond, store
	})
	node := h.start("n1")
	h.leader()
	for i := 0; node.LastSnapshot() == "0" || i%50 != 0; i++ {
		acquire(t, node, fmt.Sprintf("held/%d", i), "alice", time.Hour)
	}
	acquire(t, node, "last", "alice", time.Hour)
	h.close("n1")
	return h.cfgs["n1"]
}

// TestDamagedDirectoryIsRefused changes what has no checksum of its own, so that
// it still reads well. Opening must not believe it.
func TestDamagedDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	used := usedDirectory(t, cluster.BoltDB)
	meta := func(field, value string) func(*testing.T, string) {
		return editFiles("snapshots/*/meta.json", `"`+field+`":("[^"]*"|\d+)`, `"`+field+`":`+value)
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"a snapshot of a later index":   {meta("Index", "90000"), "index 90000"},
		"a snapshot of another term":    {meta("Term", "9"), "term 9"},
		"a snapshot of another version": {meta("Version", "77"), "version 77"},
		"another cluster id":            {editFiles("node.json", `"clusterId": "..`, `"clusterId": "zz`), "node.json is damaged"},
		"peers that are none":           {editFiles("node.json", `"peers": "[^"]*"`, `"peers": "xx"`), "node.json is damaged"},
		"a log of an unknown type": {editLog(func(e *raft.Log) bool {
			e.Type = 77
			return true
		}), "is damaged: entry"},
		"a command that became a barrier": {editLog(func(e *raft.Log) bool {
			was := e.Type
			e.Type = raft.LogBarrier
			return was == raft.LogCommand
		}), "is damaged: entry"},
		"a membership that cannot be read": {editLog(func(e *raft.Log) bool {
			e.Type, e.Data = raft.LogConfiguration, []byte{0xff, 1, 2}
			return true
		}), "is damaged: entry"},
		"a log of a newer version": {editLog(func(e *raft.Log) bool {
			was := e.Type
			if was == raft.LogCommand {
				e.Data[0] = 2
			}
			return was == raft.LogCommand
		}), "format version 2, this build knows 1; the disk is whole: start this node with the version of semanode that it ran before, or a newer one"},
		"a term from before the log": {func(t *testing.T, dir string) {
			withLog(t, dir, func(s *raftboltdb.BoltStore) error { return s.SetUint64([]byte("CurrentTerm"), 0) })
		}, "the node is in term 0"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := used
			cfg.DataDir = t.TempDir()
			if err := os.CopyFS(cfg.DataDir, os.DirFS(used.DataDir)); err != nil {
				t.Fatal(err)
			}
			c.damage(t, cfg.DataDir)
			node, err := cluster.Open(context.Background(), cfg)
			if err == nil {
				node.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v\nwant one line with %q", err, c.want)
			}
		})
	}
	node, err := cluster.Open(context.Background(), used)
	if err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	defer node.Close()
	eventually(t, "everything acknowledged stands", func() error {
		_, err := node.Get(context.Background(), "last")
		return err
	})
}

// TestDamagedSegmentsAreRefused: a log in segments, one of which is not what was
// written, or is gone, or is not known any more.
func TestDamagedSegmentsAreRefused(t *testing.T) {
	t.Parallel()
	used := usedDirectory(t, cluster.WAL)
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"a bit in the middle":       {func(t *testing.T, dir string) { flip(t, newestSegment(t, dir), 300) }, "a whole append follows"},
		"a bit of the newest entry": {func(t *testing.T, dir string) { flip(t, newestSegment(t, dir), lastByte(t, dir)-20) }, "no sector of it is missing"},
		"a segment that is shorter": {func(t *testing.T, dir string) {
			if err := os.Truncate(newestSegment(t, dir), int64(lastByte(t, dir)-20)); err != nil {
				t.Fatal(err)
			}
		}, "was cut"},
		"the newest entry is zeros": {func(t *testing.T, dir string) {
			path, at := newestSegment(t, dir), lastByte(t, dir)
			data := read(t, path)
			clear(data[at-at%512:])
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "what is behind it is lost"},
		"a segment that is gone": {func(t *testing.T, dir string) {
			if err := os.Remove(newestSegment(t, dir)); err != nil {
				t.Fatal(err)
			}
		}, "is missing"},
		"all segments": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "wal")); err != nil {
				t.Fatal(err)
			}
		}, "is missing"},
		"their table": {func(t *testing.T, dir string) {
			withLog(t, dir, func(s *raftboltdb.BoltStore) error { return s.Set([]byte("LogSegments"), nil) })
		}, "no table of segments"},
		"a wrong table": {func(t *testing.T, dir string) {
			withLog(t, dir, func(s *raftboltdb.BoltStore) error { return s.Set([]byte("LogSegments"), []byte("1234{}")) })
		}, "table of segments does not match its checksum"},
		"a term from before the log": {func(t *testing.T, dir string) {
			withLog(t, dir, func(s *raftboltdb.BoltStore) error { return s.SetUint64([]byte("CurrentTerm"), 0) })
		}, "the node is in term 0"},
		"raft.db":              {func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "raft.db"), 30) }, "meta page 0 is damaged"},
		"an unknown log store": {editFiles("node.json", `"logStore": "wal"`, `"logStore": "tape"`), "node.json is damaged"},
		"a format to come":     {editFiles("node.json", `"format": 2`, `"format": 4`), "use the version of semanode that wrote it"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := copyDirectory(t, used)
			c.damage(t, cfg.DataDir)
			node, err := cluster.Open(context.Background(), cfg)
			if err == nil {
				node.Close()
				t.Fatal("it opened")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v\nwant one line with %q", err, c.want)
			}
		})
	}
}

// lastByte is where the newest segment ends, as far as it was written.
func lastByte(t *testing.T, dir string) int {
	t.Helper()
	return len(bytes.TrimRight(read(t, newestSegment(t, dir)), "\x00"))
}

// editFiles returns what replaces a pattern in files, which must be there.
func editFiles(glob, pattern, replacement string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		paths, err := filepath.Glob(filepath.Join(dir, glob))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s: %v", glob, err)
		}
		for _, path := range paths {
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			after := regexp.MustCompile(pattern).ReplaceAll(before, []byte(replacement))
			if bytes.Equal(before, after) {
				t.Fatalf("%s has no %s", path, pattern)
			}
			if err := os.WriteFile(path, after, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// editLog returns what changes the newest entry for which change is true.
func editLog(change func(*raft.Log) bool) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		withLog(t, dir, func(s *raftboltdb.BoltStore) error {
			last, err := s.LastIndex()
			if err != nil {
				return err
			}
			for i := last; ; i-- {
				var entry raft.Log
				if err := s.GetLog(i, &entry); err != nil {
					return err
				}
				if change(&entry) {
					return s.StoreLog(&entry)
				}
			}
		})
	}
}

func withLog(t *testing.T, dir string, do func(*raftboltdb.BoltStore) error) {
	t.Helper()
	s, err := raftboltdb.NewBoltStore(filepath.Join(dir, "raft.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := do(s); err != nil {
		t.Fatal(err)
	}
}

// TestLogBehindSnapshot starts a node that ended when it had installed another's
// snapshot and had not yet removed its log, which ends before it: it goes on from the
// snapshot, and its log without a gap.
func TestLogBehindSnapshot(t *testing.T) {
	t.Parallel()
	for _, store := range []cluster.LogStore{cluster.WAL, cluster.BoltDB} {
		t.Run(string(store), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, 1, func(c *cluster.Config) {
				c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 10*time.Millisecond, 50, 5
				c.LogStore = store
			})
			node := h.start("n1")
			h.leader()
			acquire(t, node, "early", "alice", time.Hour)
			h.close("n1")
			cfg := copyDirectory(t, h.cfgs["n1"])
			node = h.start("n1")
			h.leader()
			for i := 0; node.LastSnapshot() == "0"; i++ {
				acquire(t, node, fmt.Sprintf("held/%d", i), "alice", time.Hour)
			}
			h.close("n1")
			snapshots := filepath.Join(h.cfgs["n1"].DataDir, "snapshots")
			if err := os.RemoveAll(filepath.Join(cfg.DataDir, "snapshots")); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(cfg.DataDir, "snapshots"), os.DirFS(snapshots)); err != nil {
				t.Fatal(err)
			}
			withLog(t, cfg.DataDir, func(s *raftboltdb.BoltStore) error { return s.SetUint64([]byte("CurrentTerm"), 9) })
			h.cfgs["n1"] = cfg
			for range 2 {
				node = h.start("n1")
				h.leader()
				for _, name := range []string{"early", "held/0", "held/20"} {
					if _, err := node.Get(context.Background(), name); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				acquire(t, node, fmt.Sprintf("late/%d", node.LastIndex()), "alice", time.Hour)
				if first, snapshot := fmt.Sprint(node.FirstIndex()-1), node.LastSnapshot(); len(first) < len(snapshot) {
					t.Errorf("the log begins behind entry %s, the snapshot ends with entry %s", first, snapshot)
				}
				h.close("n1")
			}
		})
	}
}

// TestUnfinishedSnapshots: raft would keep for ever a snapshot that the node was writing
// when it ended, and one that it was removing. That there is no description is damage
// if no newer ones make up for it.
func TestUnfinishedSnapshots(t *testing.T) {
	t.Parallel()
	cfg := usedDirectory(t, cluster.WAL)
	node, err := cluster.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := node.WaitLeader(context.Background()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there are two snapshots", func() error {
		acquire(t, node, fmt.Sprintf("again/%d", node.LastIndex()), "alice", time.Hour)
		if found, err := filepath.Glob(filepath.Join(cfg.DataDir, "snapshots", "*[0-9]")); err != nil || len(found) < 2 {
			return fmt.Errorf("%v, %v", found, err)
		}
		return nil
	})
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	var unfinished []string
	for _, name := range []string{"2-7777-1.tmp", "1-1-1", "2-2-2"} {
		path := filepath.Join(cfg.DataDir, "snapshots", name)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "state.bin"), make([]byte, 100), 0o600); err != nil {
			t.Fatal(err)
		}
		unfinished = append(unfinished, path)
	}
	newest := filepath.Join(cfg.DataDir, "snapshots", "2-7777-1")
	if err := os.Mkdir(newest, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Open(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), newest+"/meta.json is damaged") {
		t.Fatalf("the newest snapshot has no description: %v", err)
	}
	if err := os.Remove(newest); err != nil {
		t.Fatal(err)
	}
	if node, err = cluster.Open(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	for _, path := range unfinished {
		if exists(path) {
			t.Errorf("%s is there still", path)
		}
	}
}

// TestBootstrapCutShort starts a node whose first start was cut off between the
// two things that a bootstrap writes.
func TestBootstrapCutShort(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1, nil)
	h.start("n1")
	h.close("n1")
	cfg := h.cfgs["n1"]
	editFiles("node.json", `"bootstrapped": true`, `"bootstrapped": false`)(t, cfg.DataDir)
	if err := os.Remove(filepath.Join(cfg.DataDir, "raft.db")); err != nil {
		t.Fatal(err)
	}
	withLog(t, cfg.DataDir, func(s *raftboltdb.BoltStore) error {
		return s.Set([]byte("CurrentTerm"), binary.BigEndian.AppendUint64(nil, 1))
	})
	h.start("n1")
	h.leader()
}

// TestFirstStartMayBeCorrected: a first start with a wrong address claims the
// directory and fails. The corrected one must not be taken for another cluster.
func TestFirstStartMayBeCorrected(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 1, nil)
	wrong := h.cfgs["n1"]
	wrong.RaftAddr = "192.0.2.1:1" // TEST-NET-1: no address of this machine
	wrong.Peers = []cluster.Peer{{ID: "n1", Addr: "192.0.2.1:1"}}
	if node, err := cluster.Open(context.Background(), wrong); err == nil {
		node.Close()
		t.Fatal("it opened")
	}
	h.start("n1")
	h.leader()
}
