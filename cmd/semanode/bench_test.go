package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/load"
)

// benchFields are the first fields of a result, in this order, and all of them.
var (
	benchFields    = []string{"cyclesPerSecond", "p50Ms", "p99Ms", "maxMs", "errors", "workers", "mode"}
	allBenchFields = append(slices.Clone(benchFields), "rate", "seconds", "cycles", "samples", "unfinished", "unfinishedOldestMs", "errorTexts", "clients")
)

// benched checks that stdout is one result, and returns it.
func benched(t *testing.T, stdout string) benchJSON {
	t.Helper()
	var fields map[string]json.RawMessage
	var result benchJSON
	if err := errors.Join(json.Unmarshal([]byte(stdout), &fields), json.Unmarshal([]byte(stdout), &result)); err != nil || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("printed no result: %q, %v", stdout, err)
	}
	if got, want := slices.Sorted(maps.Keys(fields)), slices.Sorted(slices.Values(allBenchFields)); !slices.Equal(got, want) {
		t.Errorf("the fields are %v, want %v", got, want)
	}
	rest := stdout
	for _, field := range benchFields {
		_, after, ok := strings.Cut(rest, `"`+field+`":`)
		if !ok {
			t.Errorf("%q is not where it should be in %s", field, stdout)
		}
		rest = after
	}
	return result
}

// Every mode against a cluster of three, as scripts and people run it, all at the same
// time. How fast it is, is no matter here.
func TestBench(t *testing.T) {
	t.Parallel()
	_, endpoints := startDev(t)
	bench := func(args ...string) *process {
		return start(t, append([]string{"bench", "--warmup", "100ms", "--endpoints", endpoints}, args...)...)
	}
	modes := map[load.Mode]*process{}
	for _, mode := range load.Modes() {
		modes[mode] = bench("--mode", string(mode), "--workers", "3", "--duration", "2s", "--quiet", "-o", "json")
	}
	people := bench("--rate", "20", "--workers", "30", "--clients", "2", "--duration", "2s")
	ctrlC := bench("--mode", "mixed", "--workers", "2", "--duration", "1h", "-o", "json")

	ctrlC.complains(" cycles/s, ")
	ctrlC.signal(syscall.SIGINT)
	r := ctrlC.result()
	if got := benched(t, r.stdout); r.code != exitFailed || got.Seconds < 0.8 || got.Errors != 0 {
		t.Errorf("after Ctrl-C: %+v", r)
	}
	contains(t, r.stderr, "semanode: interrupted after ", "s of 1h0m0s\n")

	for mode, p := range modes {
		stdout := p.result().ok(t)
		got := benched(t, stdout)
		if got.Mode != mode || got.Workers != 3 || got.Clients != 1 || got.Errors != 0 || len(got.ErrorTexts) != 0 || got.Seconds != 2 ||
			got.Cycles == 0 || got.CyclesPerSecond <= 0 || got.P50Ms <= 0 || got.P99Ms < got.P50Ms || got.MaxMs < got.P99Ms {
			t.Errorf("%s", stdout)
		}
	}

	r = people.result()
	contains(t, r.stdout, "mode:        cycle\n", "workers:     30, of 2 clients\n", "rate:        20 due per second\n", " in 2s\n",
		"cycles/s:    ", "p50:         ", " ms\n", "errors:      0\n", "unfinished:  ")
	contains(t, r.stderr, "  1.", " cycles/s, 0 errors\n")
	if r.code != exitDone {
		t.Errorf("for people: %+v", r)
	}
	if left := (shell{t, endpoints}).run("list", "bench/", "-o", "json").ok(t); left != `{"semaphores":[]}`+"\n" {
		t.Errorf("left behind: %s", left)
	}
}

// The cluster dies under the load. What cannot be released is told beside the result.
func TestBenchOfADyingCluster(t *testing.T) {
	t.Parallel()
	dev, endpoints := startDev(t)
	p := start(t, "bench", "--mode", "touch", "--workers", "3", "--duration", "1h", "--warmup", "0s", "-o", "json", "--rpc-timeout", "500ms", "--endpoints", endpoints)
	p.complains(" cycles/s, ")
	dev.kill()
	p.signal(syscall.SIGINT)
	r := p.result()
	if got := benched(t, r.stdout); r.code != exitFailed || got.Cycles == 0 {
		t.Errorf("%+v", r)
	}
	contains(t, r.stderr, "left behind until its timeout: \"bench/", "(and 2 more)", "; interrupted after")
}

func TestBenchWithoutACluster(t *testing.T) {
	t.Parallel()
	dead := freeAddr()
	r := semanode(t, "bench", "--rpc-timeout", "300ms", "--endpoints", dead)
	contains(t, r.fault(t, exitFailed), "no leader found", dead)
	if r.stdout != "" {
		t.Errorf("printed %q", r.stdout)
	}
}

// What its lockers promise to the load, also after a hold was lost.
func TestBenchLocker(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 1).client()
	ctx := within(t)
	one, two := newBenchLocker(c, "one", sema.DefaultTimeout), newBenchLocker(c, "two", sema.DefaultTimeout)
	try := func(l *benchLocker, want bool) {
		t.Helper()
		if ok, err := l.TryAcquire(ctx, "a"); err != nil || ok != want {
			t.Errorf("%s acquires: %v, %v", l.owner, ok, err)
		}
	}
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	}
	try(one, true)
	try(two, false)
	must(one.Touch(ctx, "a"), one.Get(ctx, "a"), one.Get(ctx, "free"))
	must(two.Release(ctx, "a")) // has nothing, and ends nothing
	try(two, false)
	must(one.Release(ctx, "a"), one.Release(ctx, "a"))

	must(two.Lock(ctx, "a"))
	waiting, give := context.WithCancelCause(ctx)
	gone := errors.New("gone")
	give(gone)
	if err := one.Lock(waiting, "a"); !errors.Is(err, gone) {
		t.Errorf("a wait that was given up: %v", err)
	}
	must(one.Release(ctx, "a"), one.Close())
	if err := two.Close(); err == nil {
		t.Error("closed with a lock")
	}
	must(two.Release(ctx, "a"), two.Release(ctx, "a"))

	for _, acquire := range []func() error{
		func() error { _, err := one.TryAcquire(ctx, "a"); return err },
		func() error { return one.Lock(ctx, "a") },
	} {
		must(acquire())
		info, err := c.Get(ctx, "a")
		must(err)
		_, err = c.ForceRelease(ctx, "a", info.Token)
		must(err)
		try(two, true)
		if err := one.Release(ctx, "a"); err == nil {
			t.Error("released what was lost")
		}
		must(one.Release(ctx, "a")) // that is known by now
		try(one, false)
		must(two.Release(ctx, "a"))
	}
	must(one.Close(), two.Close())
}
