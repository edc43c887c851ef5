package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/transport"
)

// Two of three nodes are gone with their disks. What the third has on its disk is
// all that was acknowledged, and becomes a cluster again. The directory stays as it
// was.
func TestSaveDirectory(t *testing.T) {
	t.Parallel()
	for _, snapshots := range []bool{false, true} {
		t.Run(fmt.Sprintf("snapshots=%v", snapshots), func(t *testing.T) {
			t.Parallel()
			h := startHarness(t, 3, func(c *cluster.Config) {
				if snapshots {
					c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = 20*time.Millisecond, 16, 4
				}
			})
			leader := h.leader()
			held := map[string]uint64{}
			for i := range 100 {
				name := fmt.Sprintf("job/%d", i)
				held[name] = acquire(t, leader, name, "alice", time.Hour).Token
				if i%3 == 0 {
					if err := leader.Release(t.Context(), name); err != nil {
						t.Fatal(err)
					}
					delete(held, name)
				}
			}
			dir := h.cfgs[leader.ID()].DataDir
			if err := cluster.SaveDirectory(t.Context(), dir, io.Discard, nil); err == nil || !strings.Contains(err.Error(), "in use by another process") {
				t.Errorf("while its node runs: %v", err)
			}
			if snapshots {
				eventually(t, "a snapshot was taken", func() error {
					if leader.LastSnapshot() == "0" {
						return errors.New("none")
					}
					return nil
				})
			}
			for id := range h.nodes {
				h.kill(id)
			}
			before := listing(t, dir)
			var file bytes.Buffer
			if err := cluster.SaveDirectory(t.Context(), dir, &file, nil); err != nil {
				t.Fatal(err)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the directory was\n%sand is\n%s", before, after)
			}
			_, s := readInto(t, file.Bytes())
			if s.Header.Source != backup.Directory || s.Header.NodeID != leader.ID() || len(s.Header.Members) != 3 || s.Header.Facts.Index == 0 || s.Header.Facts.Term == 0 {
				t.Errorf("its header: %+v", s.Header)
			}
			fresh, _ := h.restoreAll(file.Bytes(), nil)
			for id := range fresh.cfgs {
				fresh.start(id)
			}
			leader = fresh.leader()
			c := leader.Client()
			defer c.Close()
			page, err := c.List(t.Context(), transport.ListRequest{Limit: transport.MaxPageSize})
			if err != nil || len(page.Infos) != len(held) {
				t.Fatalf("%d of %d holds, %v", len(page.Infos), len(held), err)
			}
			var highest uint64
			for _, info := range page.Infos {
				highest = max(highest, info.Token)
				if held[info.Name] != info.Token {
					t.Errorf("%s: token %d, was %d", info.Name, info.Token, held[info.Name])
				}
			}
			if next := acquire(t, leader, "next", "bob", time.Hour); next.Token <= highest+1<<40 {
				t.Errorf("token %d after %d", next.Token, highest)
			}
		})
	}
	if err := cluster.SaveDirectory(t.Context(), t.TempDir(), io.Discard, nil); err == nil || !strings.Contains(err.Error(), "not a node's data directory") {
		t.Errorf("of an empty directory: %v", err)
	}
}

// listing is the names, sizes and times of all files of a directory.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			fmt.Fprintf(&all, "%s %d %v\n", path, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
