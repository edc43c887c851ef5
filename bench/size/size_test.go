//go:build linux

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The whole way, with few holds and for a moment: from processes to the page. What needs
// tens of thousands of entries, or a million holds, is left out.
func TestSize(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts clusters of three nodes")
	}
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "size.md")
	args := []string{"-only", "failover,handles,touch", "-holds", "2000", "-handles", "100", "-window", "1s", "-failover", "1", "-dir", dir, "-out", out}
	var progress bytes.Buffer
	if err := run(t.Context(), args, io.Discard, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	page, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"## Holds that stand", "| SIGKILL to the next grant, 1 times | ", "## Locks of one client", "## 2,000 holds, each touched every 30s", "| lost, in 1.", "| processor | "} {
		if !bytes.Contains(page, []byte(text)) {
			t.Errorf("the page does not show %q:\n%s", text, page)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFaultsOfTheCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"-only away,size":       `no part "size"`,
		"-holds 10 -handles 0":  "-handles 0",
		"-window 1ms":           "-window 1ms",
		"-out /nowhere/size.md": "-out",
		"touch":                 "unexpected",
	} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to tell of %q", args, err, want)
		}
	}
}

func TestParseBenchmarks(t *testing.T) {
	const text = `goos: linux
BenchmarkStall/clients=1/touch-2   	       2	4819699981 ns/op	       307.6 bytes/hold	       1.5 quiet-max-ms
PASS
`
	all := parseBenchmarks(text)
	if m := all["BenchmarkStall/clients=1/touch"]; len(all) != 1 || m["bytes/hold"] != 307.6 || m["quiet-max-ms"] != 1.5 {
		t.Errorf("%v", all)
	}
}

func TestUsage(t *testing.T) {
	pid := os.Getpid()
	if n, err := resident(pid); err != nil || n < 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	before, err := processorTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	for began := ownProcessorTime(); ownProcessorTime()-began < 50*time.Millisecond; {
	}
	if after, err := processorTime(pid); err != nil || after-before < 20*time.Millisecond {
		t.Errorf("%v of 50 ms, %v", after-before, err)
	}
}

func TestSnapshotNames(t *testing.T) {
	if i := indexOf("3-16412-1763906000000"); i != 16412 {
		t.Error(i)
	}
	f := &fleet{dir: t.TempDir()}
	for _, name := range []string{"2-7-1", "2-9-2", "2-11-3" + unfinished} {
		if err := os.MkdirAll(filepath.Join(f.data(0), "snapshots", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.newest(0); n != 9 || f.newest(1) != 0 {
		t.Error(n)
	}
}
