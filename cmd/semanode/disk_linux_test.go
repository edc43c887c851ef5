package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/client"
)

// A node whose disk is full says so and ends: it cannot keep a promise any more.
func TestDiskIsFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// A disk of its own that vanishes with the process.
	disk := []string{"unshare", "--mount", "--map-root-user", "sh", "-c", `mount -t tmpfs -o size=512k none "$0" && exec "$@"`, dir}
	if out, err := exec.Command(disk[0], append(disk[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("no mount of our own here: %v: %s", err, out)
	}
	addr := freeAddr()
	p := startWith(t, disk, nil, "serve", "--id", "n1", "--data-dir", dir, "--raft-addr", addr, "--peers", "n1="+addr, "--grpc-addr", "127.0.0.1:0", "--log-level", "off")
	p.says("is ready")
	_, rest, _ := strings.Cut(p.stdout.String(), "clients at ")
	endpoint, _, _ := strings.Cut(rest, ",")
	cl, err := client.New(client.Config{Endpoints: []string{endpoint}})
	must(t, err)
	defer cl.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { // no call outlives the node
		<-p.done
		cancel()
	}()
	for i := 0; ctx.Err() == nil; i++ {
		_, _ = cl.Acquire(ctx, fmt.Sprintf("%d/%s", i, strings.Repeat("n", 500)), strings.Repeat("o", 256), time.Hour)
	}
	contains(t, p.result().fault(t, exitFailed), "node n1 ended: disk failed: writing the log", "no space left on device")
}
