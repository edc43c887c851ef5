package cluster_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/transport"
)

// recorded is a data directory with a snapshot and a log behind it, as a version of this
// module wrote it. It is for versions to come: they add theirs, and keep this one. (-update
// writes it anew, which is right only while its version was not released.)
const recorded = "testdata/data-level2.tar.gz"

// recordedConfig is that of its node.
func recordedConfig(dir string) cluster.Config {
	return cluster.Config{ID: "n1", DataDir: dir, RaftAddr: "127.0.0.1:0", Peers: []cluster.Peer{{ID: "n1", Addr: "127.0.0.1:7373"}},
		ElectionTimeout: 50 * time.Millisecond, LogSegmentSize: 64 << 10, SnapshotThreshold: 5, SnapshotInterval: 20 * time.Millisecond, TrailingLogs: 2}
}

// TestRecordedDirectory starts a node with what a version before has written.
func TestRecordedDirectory(t *testing.T) {
	if *update {
		record(t)
	}
	dir := t.TempDir()
	unpack(t, recorded, dir)
	n, err := cluster.Open(context.Background(), recordedConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.WaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
	c := n.Client()
	defer c.Close()
	for name, owner := range map[string]string{"early": "alice", "late": "bob", "counted": "ci"} {
		if info, err := c.Get(ctx, name); err != nil || info.Owner != owner {
			t.Errorf("%s: %+v, %v, want it held by %s", name, info, err, owner)
		}
	}
	if _, err := c.Get(ctx, "freed"); !errors.Is(err, sema.ErrNotFound) {
		t.Errorf("freed: %v", err)
	}
	last, err := c.Get(ctx, "late")
	if err != nil {
		t.Fatal(err)
	}
	if next := acquire(t, c, "next", "carol", time.Minute); next.Token <= last.Token {
		t.Errorf("token %d after %d", next.Token, last.Token)
	}
	if _, err := n.Backend().Acquire(ctx, transport.AcquireRequest{Name: "more", Owner: "ci", Timeout: time.Minute, Account: &transport.Account{Identity: "ci", Holds: 1}}); !errors.Is(err, sema.ErrLimit) {
		t.Errorf("the account of ci does not count what it has: %v", err)
	}
}

// record makes the directory.
func record(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	n, err := cluster.Open(context.Background(), recordedConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.WaitLeader(ctx); err != nil {
		t.Fatal(err)
	}
	acquire(t, n, "early", "alice", 7*24*time.Hour)
	acquire(t, n, "freed", "alice", time.Hour)
	if err := n.Release(ctx, "freed"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a snapshot was taken", func() error {
		acquire(t, n, "freed", "alice", time.Hour)
		if err := n.Release(ctx, "freed"); err != nil {
			return err
		}
		if n.LastSnapshot() == "0" || n.LastSnapshot() == "" {
			return errors.New("none")
		}
		return nil
	})
	if _, err := n.Backend().Acquire(ctx, transport.AcquireRequest{Name: "counted", Owner: "ci", Timeout: 7 * 24 * time.Hour, Account: &transport.Account{Identity: "ci", Holds: 1}}); err != nil {
		t.Fatal(err)
	}
	acquire(t, n, "late", "bob", 7*24*time.Hour)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	pack(t, dir, recorded)
}

func pack(t *testing.T, dir, file string) {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	zip := gzip.NewWriter(out)
	to := tar.NewWriter(zip)
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		err = to.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(data))})
		if err == nil {
			_, err = to.Write(data)
		}
		return err
	})
	if err := errors.Join(err, to.Close(), zip.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, file, dir string) {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	zip, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	for from := tar.NewReader(zip); ; {
		h, err := from.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		data, err := io.ReadAll(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
