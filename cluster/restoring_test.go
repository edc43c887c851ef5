package cluster_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/cluster"
)

// midway is a backup that is read when something else has happened.
type midway struct {
	io.Reader
	meanwhile func()
}

// Read implements [io.Reader].
func (m *midway) Read(p []byte) (int, error) {
	if do := m.meanwhile; do != nil {
		m.meanwhile = nil
		do()
	}
	return m.Reader.Read(p)
}

// names are what a directory holds.
func names(t testing.TB, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// backupOfOne returns a backup, and the configuration of the node that is to be restored
// from it.
func backupOfOne(t *testing.T) (file []byte, cfg cluster.Config, rc cluster.RestoreConfig) {
	t.Helper()
	h := startHarness(t, 1, nil)
	acquire(t, h.leader(), "job", "alice", time.Hour)
	file = saved(t, h.leader().Client())
	h.close("n1")
	cfg = h.cfgs["n1"]
	cfg.DataDir = t.TempDir()
	return file, cfg, cluster.RestoreConfig{ID: "n1", DataDir: cfg.DataDir, Peers: cfg.Peers}
}

// While a backup is being restored into a directory, nobody else can restore there, and no
// node starts: so neither loses its files to the other.
func TestRestoreIsAlone(t *testing.T) {
	t.Parallel()
	file, cfg, rc := backupOfOne(t)
	_, err := cluster.Restore(t.Context(), rc, &midway{bytes.NewReader(file), func() {
		if _, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file)); err == nil || !strings.Contains(err.Error(), "another backup is being restored") {
			t.Errorf("beside another restore: %v", err)
		}
		if n, err := cluster.Open(t.Context(), cfg); err == nil {
			n.Close()
			t.Error("a node started")
		} else if !strings.Contains(err.Error(), "is being restored") {
			t.Errorf("the node: %v", err)
		}
		if all := names(t, cfg.DataDir); !slices.Equal(all, []string{"restoring"}) {
			t.Errorf("the directory holds %v", all)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	opensWith(t, cfg, "job")
}

// opensWith starts the node, and finds a hold.
func opensWith(t *testing.T, cfg cluster.Config, name string) {
	t.Helper()
	n, err := cluster.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.WaitLeader(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Get(t.Context(), name); err != nil {
		t.Error(err)
	}
}

// A restore that fails removes what it has made, and nothing that somebody else has put
// there meanwhile.
func TestRestoreRemovesItsOwn(t *testing.T) {
	t.Parallel()
	file, cfg, rc := backupOfOne(t)
	foreign := filepath.Join(cfg.DataDir, "node.json")
	_, err := cluster.Restore(t.Context(), rc, &midway{bytes.NewReader(file), func() {
		if err := os.WriteFile(foreign, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}})
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("over another's node.json: %v", err)
	}
	if all := names(t, cfg.DataDir); !slices.Equal(all, []string{"node.json"}) {
		t.Errorf("left are %v", all)
	}
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	if _, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file[:len(file)-1])); err == nil {
		t.Error("a part of a backup was restored")
	}
	if all := names(t, cfg.DataDir); len(all) > 0 {
		t.Errorf("left are %v", all)
	}
}

// A restore that was killed at its very end has left its mark beside what is whole: the
// node starts, and removes it. As long as the mark is held, it does not.
func TestMarkIsLeft(t *testing.T) {
	t.Parallel()
	file, cfg, rc := backupOfOne(t)
	if _, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cfg.DataDir, "restoring")
	mark, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.LockFile(mark); err != nil {
		t.Fatal(err)
	}
	if n, err := cluster.Open(t.Context(), cfg); err == nil {
		n.Close()
		t.Fatal("a node started while its backup was being restored")
	} else if !strings.Contains(err.Error(), "is being restored") {
		t.Errorf("the node: %v", err)
	}
	if err := mark.Close(); err != nil {
		t.Fatal(err)
	}
	opensWith(t, cfg, "job")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mark is still there: %v", err)
	}
}

// What is restored, and what its node writes, can be read by their owner only, whoever made
// the directory.
func TestDataIsNobodyElses(t *testing.T) {
	t.Parallel()
	file, cfg, rc := backupOfOne(t)
	if err := os.Chmod(cfg.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	closed := func(when string) {
		t.Helper()
		for _, path := range []string{cfg.DataDir, filepath.Join(cfg.DataDir, "snapshots")} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %s: %v, %v", when, path, info.Mode(), err)
			}
		}
	}
	if _, err := cluster.Restore(t.Context(), rc, bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	closed("restored")
	for _, path := range []string{cfg.DataDir, filepath.Join(cfg.DataDir, "snapshots")} { // as an older version left it
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	opensWith(t, cfg, "job")
	closed("started")
}

// A directory that a node has claimed, and never used, when a restore began, is not taken
// for what that restore has left half done.
func TestClaimedWhileRestored(t *testing.T) {
	t.Parallel()
	_, cfg, _ := backupOfOne(t)
	n, err := cluster.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	editFiles("node.json", `"bootstrapped": true`, `"bootstrapped": false`)(t, cfg.DataDir)
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "restoring"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := cluster.Open(t.Context(), cfg); err == nil {
		n.Close()
		t.Error("it started")
	} else if !strings.Contains(err.Error(), "never to the end") {
		t.Error(err)
	}
}
