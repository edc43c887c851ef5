package cluster

import (
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// meteredEntry is an entry of commands that each acquire or release.
func meteredEntry(n int) (*entry, []fsm.Result) {
	e := &entry{size: n, took: time.Millisecond}
	var results []fsm.Result
	for i := range n {
		c, r := fsm.Command{Kind: fsm.Acquire}, fsm.Result{Info: sema.Info{Status: sema.Acquired, Token: 7}, New: true}
		if i%2 == 1 {
			c, r = fsm.Command{Kind: fsm.Release, Token: 7}, fsm.Result{Ended: 7, Held: time.Second}
		}
		e.batch = append(e.batch, newProposal(c))
		results = append(results, r)
	}
	return e, results
}

// It is not parallel: what it measures counts for the whole process.
func TestMetersAllocateNothing(t *testing.T) {
	m := newMeters()
	e, results := meteredEntry(100)
	if n := testing.AllocsPerRun(20, func() { m.entry(e, results) }); n != 0 {
		t.Errorf("%v allocations for an entry of 100 commands", n)
	}
	write := func() error { return nil }
	for _, h := range []*meters{m, {}} {
		if n := testing.AllocsPerRun(20, func() { _ = timed(h.logWrites, write) }); n != 0 {
			t.Errorf("%v allocations for a write, timed: %v", n, h.on)
		}
	}
}

func TestEndings(t *testing.T) {
	t.Parallel()
	granted := &fsm.Grant{}
	for _, tc := range []struct {
		c    fsm.Command
		r    fsm.Result
		want string
	}{
		{fsm.Command{Kind: fsm.Release, Token: 7}, fsm.Result{}, "released"},
		{fsm.Command{Kind: fsm.Release}, fsm.Result{}, "undone"}, // by its attempt
		{fsm.Command{Kind: fsm.Cancel}, fsm.Result{}, "undone"},
		{fsm.Command{Kind: fsm.ForceRelease}, fsm.Result{Granted: granted}, "forced"},
		{fsm.Command{Kind: fsm.Expire}, fsm.Result{Granted: granted}, "expired"},
		{fsm.Command{Kind: fsm.Expire}, fsm.Result{}, "swept"},
		{fsm.Command{Kind: fsm.Acquire, Token: 7}, fsm.Result{}, "expired"},
	} {
		if got := endingNames[endingOf(&tc.c, &tc.r)]; got != tc.want {
			t.Errorf("%v with %v: %s, want %s", tc.c.Kind, tc.r.Granted, got, tc.want)
		}
	}
}

func BenchmarkMeters(b *testing.B) {
	m := newMeters()
	e, results := meteredEntry(100)
	b.ReportAllocs()
	for b.Loop() {
		m.entry(e, results)
	}
}
