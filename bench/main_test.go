//go:build unix

package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/semanode/sema/bench/internal/report"
	"github.com/semanode/sema/internal/load"
)

// The whole way, of one peer and for a moment: from processes to the document.
func TestSema(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts three nodes")
	}
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "figures.md")
	args := []string{"-only", "sema", "-workers", "4", "-waiters", "4", "-duration", "300ms", "-warmup", "50ms", "-rounds", "1", "-failover", "1", "-dir", dir, "-out", out}
	var stdout, progress bytes.Buffer
	if err := run(t.Context(), args, &stdout, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	data, err := read(out)
	if err != nil {
		t.Fatal(err)
	}
	var modes []load.Mode
	for _, r := range data.Runs {
		modes = append(modes, r.Mode)
		if r.Column != report.Ours || r.Errors > 0 || r.CyclesPerSecond <= 0 || r.P99Ms < r.P50Ms {
			t.Errorf("%+v", r)
		}
	}
	if want := []load.Mode{load.Cycle, load.Handoff, load.Poll}; !slices.Equal(modes, want) {
		t.Errorf("measured %v, want %v", modes, want)
	}
	if len(data.Outages) != 2 {
		t.Errorf("outages: %+v", data.Outages)
	}
	document, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"figures-cycles.svg", "figures-p50.svg"} {
		if !bytes.Contains(document, []byte(text)) {
			t.Errorf("the document does not show %s", text)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(out), text)); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := run(t.Context(), []string{"-render", "-out", out}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(out); err != nil || !bytes.Equal(again, document) {
		t.Errorf("rendered again, the document differs: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and starts three nodes")
	}
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	progress := writerFunc(func(text []byte) {
		if bytes.Contains(text, []byte("cycle,")) { // one measurement is done, and another one begins
			cancel()
		}
	})
	err := run(ctx, []string{"-only", "sema", "-workers", "1", "-duration", "100ms", "-warmup", "0s", "-rounds", "1000", "-dir", dir, "-out", ""}, io.Discard, progress)
	if ctx.Err() == nil || err == nil {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestOptions(t *testing.T) {
	o, err := parse([]string{"-only", "sema,etcd", "-workers", "1, 8", "-sema-flags", "--log-store wal", "-out", ""}, io.Discard)
	if err != nil || !o.wants("etcd") || o.wants("redis") || !slices.Equal(o.workers, []int{1, 8}) || !slices.Equal(o.semaFlags, []string{"--log-store", "wal"}) {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parse([]string{"-out", ""}, io.Discard); err != nil || !o.wants("redis") || len(o.workloads) != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	_, err = parse([]string{"-only", "zookeeper", "-workloads", "sleep", "-workers", "0", "-rounds", "0", "-duration", "-1s", "-out", "nowhere/x.md"}, io.Discard)
	for _, fault := range []string{"zookeeper", "sleep", "0 workers", "-rounds", "-duration", "nowhere"} {
		if err == nil || !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not in %v", fault, err)
		}
	}
	if _, err := parse([]string{"-h"}, io.Discard); err != flag.ErrHelp {
		t.Errorf("-h: %v", err)
	}
}

func TestHandsCountsChanges(t *testing.T) {
	var h hands
	dial := h.watch(func(int) (load.Locker, error) { return granted{}, nil })
	a, _ := dial(0)
	b, _ := dial(1)
	for _, l := range []load.Locker{a, a, a, b} {
		if err := l.Lock(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := h.passed(); got != 0.5 {
		t.Errorf("%v of the grants changed hands, want the first and the last of four", got)
	}
}

// granted is a Locker that grants everything.
type granted struct{ load.Locker }

func (granted) Lock(context.Context, string) error { return nil }
