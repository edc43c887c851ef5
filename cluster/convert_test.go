package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/cluster"
)

var kills = flag.Int("kills", 50, "how often a conversion of the log is killed")

// convertEnv makes the test binary convert a log: it holds directory and store.
const convertEnv = "SEMA_TEST_CONVERT"

func runConvert(what string) {
	dir, to, _ := strings.Cut(what, "=")
	fmt.Println("begins")
	if err := cluster.ConvertLog(context.Background(), dir, cluster.LogStore(to), nil); err != nil {
		panic(err)
	}
	os.Exit(0)
}

func convert(t *testing.T, dir string, to cluster.LogStore) {
	t.Helper()
	if err := cluster.ConvertLog(context.Background(), dir, to, nil); err != nil {
		t.Fatal(err)
	}
}

func logEntries(t *testing.T, dir string) []*raft.Log {
	t.Helper()
	entries, err := cluster.LogEntries(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func copyDirectory(t *testing.T, cfg cluster.Config) cluster.Config {
	t.Helper()
	from := cfg.DataDir
	cfg.DataDir = t.TempDir()
	if err := os.CopyFS(cfg.DataDir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestConvert moves a log there and back, with a node at work in between: every entry
// stays what it was, and everything acknowledged stands.
func TestConvert(t *testing.T) {
	t.Parallel()
	cfg := usedDirectory(t, cluster.BoltDB)
	for i, to := range []cluster.LogStore{cluster.WAL, cluster.WAL, cluster.BoltDB, cluster.WAL} {
		want := logEntries(t, cfg.DataDir)
		convert(t, cfg.DataDir, to)
		if got := logEntries(t, cfg.DataDir); !slices.EqualFunc(got, want, cluster.SameEntry) {
			t.Fatalf("%d entries became %d", len(want), len(got))
		}
		if left := exists(filepath.Join(cfg.DataDir, "wal")); left != (to == cluster.WAL) {
			t.Errorf("the log is in %s; wal is there: %t", to, left)
		}
		cfg.LogStore = "" // what is there
		node, err := cluster.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "everything acknowledged stands", func() error {
			_, err := node.Get(context.Background(), "last")
			for j := range i {
				_, err2 := node.Get(context.Background(), fmt.Sprintf("later/%d", j))
				err = errors.Join(err, err2)
			}
			return err
		})
		acquire(t, node, fmt.Sprintf("later/%d", i), "alice", time.Hour)
		if err := node.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStoreOnDiskDecides: a directory's log is where it is, whatever else is asked
// for, and the refusal says how to move it.
func TestStoreOnDiskDecides(t *testing.T) {
	t.Parallel()
	for is, other := range map[cluster.LogStore]cluster.LogStore{cluster.WAL: cluster.BoltDB, cluster.BoltDB: cluster.WAL} {
		cfg := usedDirectory(t, is)
		cfg.LogStore = other
		_, err := cluster.Open(context.Background(), cfg)
		for _, want := range []string{"keeps its log in " + string(is), "semanode log-store convert --data-dir " + cfg.DataDir + " --to " + string(other)} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("%v, want one with %q", err, want)
			}
		}
		for _, asked := range []cluster.LogStore{"", is} {
			cfg.LogStore = asked
			node, err := cluster.Open(context.Background(), cfg)
			if err != nil {
				t.Fatalf("asked for %q: %v", asked, err)
			}
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestConvertRefuses what is no stopped node's directory in order.
func TestConvertRefuses(t *testing.T) {
	t.Parallel()
	inBolt, inWAL := usedDirectory(t, cluster.BoltDB), usedDirectory(t, cluster.WAL)
	running := startHarness(t, 1, nil)
	for name, c := range map[string]struct {
		dir  func(t *testing.T) string
		to   cluster.LogStore
		want string
	}{
		"a node that runs":   {func(*testing.T) string { return running.cfgs["n1"].DataDir }, cluster.BoltDB, "in use by another process"},
		"no node":            {func(t *testing.T) string { return t.TempDir() }, cluster.WAL, "not a node's data directory"},
		"no store":           {func(*testing.T) string { return inBolt.DataDir }, "tape", `invalid to "tape"`},
		"a log with a fault": {func(t *testing.T) string { return damaged(t, inBolt) }, cluster.WAL, "is damaged: entry"},
		"a segment with a fault": {func(t *testing.T) string {
			dir := copyDirectory(t, inWAL).DataDir
			flip(t, newestSegment(t, dir), 100)
			return dir
		}, cluster.BoltDB, ".wal is damaged"},
		"a segment with a fault, although there is nothing to do": {func(t *testing.T) string {
			dir := copyDirectory(t, inWAL).DataDir
			flip(t, newestSegment(t, dir), 100)
			return dir
		}, cluster.WAL, ".wal is damaged"},
		"votes that are gone": {func(t *testing.T) string {
			dir := copyDirectory(t, inWAL).DataDir
			if err := os.Remove(filepath.Join(dir, "raft.db")); err != nil {
				t.Fatal(err)
			}
			return dir
		}, cluster.BoltDB, "has lost its log"},
		"a record of another time": {func(t *testing.T) string {
			dir := copyDirectory(t, inWAL).DataDir
			editFiles("node.json", `"format": 2`, `"format": 1`)(t, dir)
			editFiles("node.json", `,\s*"logStore": "wal"`, ``)(t, dir)
			return dir
		}, cluster.WAL, "node.json is not the one that was here"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := c.dir(t)
			before := files(t, dir)
			err := cluster.ConvertLog(context.Background(), dir, c.to, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v\nwant one line with %q", err, c.want)
			}
			if after := files(t, dir); before != after {
				t.Errorf("it changed something:\n%s\n%s", before, after)
			}
		})
	}
	t.Run("when it is interrupted", func(t *testing.T) {
		cfg := copyDirectory(t, inBolt)
		ctx, cancel := context.WithCancelCause(context.Background())
		stop := errors.New("stop")
		err := cluster.ConvertLog(ctx, cfg.DataDir, cluster.WAL, func(_, _ uint64) { cancel(stop) })
		if !errors.Is(err, stop) || !strings.Contains(err.Error(), "in boltdb still") {
			t.Fatal(err)
		}
		if got, want := logEntries(t, cfg.DataDir), logEntries(t, inBolt.DataDir); !slices.EqualFunc(got, want, cluster.SameEntry) {
			t.Fatal("the log is another")
		}
		node, err := cluster.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close()
		if exists(filepath.Join(cfg.DataDir, "wal")) {
			t.Error("what was left behind is there still")
		}
	})
}

// TestConvertIsKilled kills conversions at random moments: the log is whole at all
// times, in one store or the other, and the next conversion goes on from there.
func TestConvertIsKilled(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, func(c *cluster.Config) { c.LogStore = cluster.BoltDB })
	h.writeEntries(3000)
	h.close("n1")
	dir := h.cfgs["n1"].DataDir
	want := logEntries(t, dir)
	to := cluster.WAL
	begun := time.Now()
	convert(t, dir, to)
	full := time.Since(begun)
	moved := map[bool]int{}
	for range *kills {
		if strings.Contains(string(read(t, filepath.Join(dir, "node.json"))), string(cluster.WAL)) {
			to = cluster.BoltDB
		} else {
			to = cluster.WAL
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), convertEnv+"="+dir+"="+string(to))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "begins\n" {
			t.Fatalf("%q, %v", line, err)
		}
		<-time.After(rand.N(full * 5 / 4))
		h.sigkill(cmd)
		if got := logEntries(t, dir); !slices.EqualFunc(got, want, cluster.SameEntry) {
			t.Fatalf("killed on the way to %s: %d entries became %d", to, len(want), len(got))
		}
		moved[strings.Contains(string(read(t, filepath.Join(dir, "node.json"))), string(cluster.WAL)) == (to == cluster.WAL)]++
	}
	t.Logf("killed %d times; %d had moved the log, %d had not", *kills, moved[true], moved[false])
	if moved[false] == 0 {
		t.Error("no conversion was killed before its end")
	}
	convert(t, dir, cluster.BoltDB)
	h.start("n1")
	h.leader()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// files lists a directory with the sizes of what is in it.
func files(t *testing.T, dir string) string {
	t.Helper()
	var list strings.Builder
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			fmt.Fprintf(&list, "%s %d\n", path, info.Size())
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return list.String()
}

func damaged(t *testing.T, cfg cluster.Config) string {
	t.Helper()
	dir := copyDirectory(t, cfg).DataDir
	editLog(func(e *raft.Log) bool {
		e.Type = 77
		return true
	})(t, dir)
	return dir
}

func newestSegment(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	return paths[len(paths)-1]
}

// flip changes one bit of a file.
func flip(t *testing.T, path string, at int) {
	t.Helper()
	data := read(t, path)
	data[at] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
