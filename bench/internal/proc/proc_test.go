//go:build unix

package proc_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema/bench/internal/proc"
)

func shell(script, ready string) proc.Spec {
	return proc.Spec{Path: "/bin/sh", Args: []string{"-c", script}, Ready: ready}
}

func start(t *testing.T, spec proc.Spec) *proc.Process {
	t.Helper()
	p, err := proc.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

func TestReadyIsALineOfOutput(t *testing.T) {
	p := start(t, shell("echo starting; printf 'it is re'; printf 'ady now\\n' >&2; sleep 100", "is ready"))
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Err(); err != nil {
		t.Errorf("it runs, and %v", err)
	}
}

func TestAnEndBeforeReadyTellsWhatWasSaid(t *testing.T) {
	p := start(t, shell("echo the disk is full; exit 3", "is ready"))
	err := p.WaitReady(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
}

func TestWaitingForReadyEndsWithItsContext(t *testing.T) {
	p := start(t, shell("sleep 100", "is ready"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.WaitReady(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// What a process started in its group goes with it.
func TestKillTakesTheWholeGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "child")
	p := start(t, shell("sleep 100 & echo $! >"+file+"; echo up; wait", "up"))
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(child, 0) == nil && !zombie(child) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlived its group", child)
		}
		time.Sleep(time.Millisecond) // it was told to end, and nothing tells when it has
	}
	if err := p.Kill(); err != nil {
		t.Errorf("again: %v", err)
	}
}

// zombie reports whether a process has ended and nobody has asked how.
func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(text), ") Z ")
}

func TestStopGivesTimeAndThenKills(t *testing.T) {
	clean := start(t, shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done", "up"))
	deaf := start(t, shell("trap '' TERM; echo up; while :; do sleep 0.01; done", "up"))
	for name, p := range map[string]*proc.Process{"clean": clean, "deaf": deaf} {
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(syscall.SIGTERM, 500*time.Millisecond); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := map[string]string{"clean": "exit status 0", "deaf": "signal: killed"}[name]
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: ended with %v, want %s", name, err, want)
		}
	}
}

func TestFreePortsDiffer(t *testing.T) {
	addrs, err := proc.FreePorts(8)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range addrs {
		seen[a] = true
	}
	if len(seen) != 8 {
		t.Errorf("got %v", addrs)
	}
}
