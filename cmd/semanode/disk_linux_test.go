package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/semanode/sema/client"
)

// ownDisk is a command that runs another with a disk of this size at dir, which
// vanishes with its process.
func ownDisk(t *testing.T, dir, size string) []string {
	t.Helper()
	disk := []string{"unshare", "--mount", "--map-root-user", "sh", "-c", `mount -t tmpfs -o size=` + size + ` none "$0" && exec "$@"`, dir}
	if out, err := exec.Command(disk[0], append(disk[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("no mount of our own here: %v: %s", err, out)
	}
	return disk
}

// A node whose disk is full says so and ends: it cannot keep a promise any more.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	for store, size := range map[string]string{"boltdb": "512k", "wal": "18m"} { // room for one segment
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			dir, addr := t.TempDir(), freeAddr()
			p := startWith(t, ownDisk(t, dir, size), nil, "serve", "--id", "n1", "--data-dir", dir, "--raft-addr", addr, "--peers", "n1="+addr,
				"--grpc-addr", "127.0.0.1:0", "--log-level", "off", "--log-store", store)
			p.says("is ready")
			_, rest, _ := strings.Cut(p.stdout.String(), "clients at ")
			endpoint, _, _ := strings.Cut(rest, ",")
			acquireUntil(t, endpoint, p.done)
			contains(t, p.result().fault(t, exitFailed), "node n1 ended: disk failed: writing the log", "no space left on device")
		})
	}
}

// A disk that is full while a backup is written gets none, and keeps the one that was
// there.
func TestSnapshotDiskIsFull(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 1)
	cl := c.client()
	for i := range 300 {
		_, err := cl.Acquire(within(t), fmt.Sprintf("job/%d", i), strings.Repeat("o", 256), time.Hour)
		must(t, err)
	}
	dir := t.TempDir()
	by := append(ownDisk(t, dir, "64k"), "sh", "-c", `echo the old one >"$0/kept"; "$@"; code=$?; ls -A "$0"; cat "$0/kept"; exit $code`, dir)
	r := startWith(t, by, nil, "snapshot", "save", dir+"/kept", "--force", "--endpoints", c.endpoints()).result()
	contains(t, r.fault(t, exitFailed), "no space left on device")
	if r.stdout != "kept\nthe old one\n" {
		t.Errorf("left is %q", r.stdout)
	}
}

// acquireUntil acquires, with long names, until done is closed.
func acquireUntil(t *testing.T, endpoint string, done <-chan struct{}) {
	t.Helper()
	cl, err := client.New(client.Config{Endpoints: []string{endpoint}})
	must(t, err)
	defer cl.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // no call outlives the node
		<-done
		cancel()
	}()
	var number atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for ctx.Err() == nil {
				_, _ = cl.Acquire(ctx, fmt.Sprintf("%d/%s", number.Add(1), strings.Repeat("n", 500)), strings.Repeat("o", 256), time.Hour)
			}
		})
	}
	wg.Wait()
}

// A node that finds no room for its first segment does not start, and says why.
func TestDiskIsTooSmall(t *testing.T) {
	t.Parallel()
	dir, addr := t.TempDir(), freeAddr()
	p := startWith(t, ownDisk(t, dir, "4m"), nil, "serve", "--id", "n1", "--data-dir", dir, "--raft-addr", addr, "--peers", "n1="+addr,
		"--grpc-addr", "127.0.0.1:0", "--log-level", "off")
	contains(t, p.result().fault(t, exitFailed), "the log "+dir+"/wal cannot be opened", "no space left on device")
}
