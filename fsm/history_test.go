package fsm_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// TestCapturesOverlap opens captures one after the other and writes, releases and throws
// them away in another order: each is of the moment of its capture.
func TestCapturesOverlap(t *testing.T) {
	m, _ := withHolds(t, 1000)
	changes := &changes{tb: t, m: m}
	var open []raft.FSMSnapshot
	var wants [][]byte
	for range 4 {
		changes.apply()
		wants = append(wants, snapshotOf(t, m))
		open = append(open, capture(t, m))
	}
	changes.apply()
	open[3].Release() // never written
	open[3].Release() // twice is once
	for _, i := range []int{1, 2, 0} {
		changes.apply()
		if got := persist(t, open[i]); !bytes.Equal(got, wants[i]) {
			t.Errorf("snapshot %d is not the state at its capture", i)
		}
	}
	changes.apply()
	want := snapshotOf(t, m)
	last := capture(t, m)
	changes.apply()
	if !bytes.Equal(persist(t, last), want) {
		t.Error("a snapshot after all others is not the state at its capture")
	}
}

// TestCaptureOutlivesARestore: the state that it is of is not the machine's any more.
func TestCaptureOutlivesARestore(t *testing.T) {
	m, _ := withHolds(t, 100)
	want := snapshotOf(t, m)
	captured := capture(t, m)
	changes := &changes{tb: t, m: m}
	other := snapshotOf(t, fsm.New())
	if err := m.Restore(io.NopCloser(bytes.NewReader(other))); err != nil {
		t.Fatal(err)
	}
	changes.apply()
	if !bytes.Equal(persist(t, captured), want) {
		t.Error("it is not the state at its capture")
	}
}

// TestWhatIsKeptForASnapshotIsForgotten: once it is written, what was kept for it goes,
// and a hold that is touched allocates no more than before.
func TestWhatIsKeptForASnapshotIsForgotten(t *testing.T) {
	const holds = 10_000
	m, _ := withHolds(t, holds)
	touchAll := func() {
		for from := 0; from < holds; from += fsm.MaxCommands {
			var commands []fsm.Command
			for i := from; i < min(from+fsm.MaxCommands, holds); i++ {
				commands = append(commands, fsm.Command{Kind: fsm.Touch, Name: benchName(i), Token: uint64(i + 1), Attempt: sema.Attempt{Client: benchClient(i)}})
			}
			apply(t, m, entryOf(t, fsm.Stamp{Term: 1}, commands...))
		}
	}
	touchAll()
	before := heap()
	for range 3 {
		captured := capture(t, m)
		touchAll()
		kept := heap()
		if kept < before+holds*100 {
			t.Errorf("%d bytes are kept for a snapshot in which %d holds were: the test shows nothing", kept-before, holds)
		}
		captured.Release()
		touchAll()
	}
	if after := heap(); after > before+holds*10 {
		t.Errorf("%d bytes are left of snapshots that are released", after-before)
	}
	runtime.KeepAlive(m)
}

// TestTouchBesideASnapshotAllocates is a guard that does not depend on the machine: the
// first touch of a hold after a capture copies that hold and its client, and nothing of
// the trees that they are in.
func TestTouchBesideASnapshotAllocates(t *testing.T) {
	const holds, mostBytes = 100_000, 1000
	m, _ := withHolds(t, holds)
	var before, after runtime.MemStats
	bytes, n := uint64(0), uint64(0)
	for e := range 20 {
		var commands []fsm.Command
		for i := range fsm.MaxCommands {
			i = (e*fsm.MaxCommands + i) * benchStep % holds // all over the place
			commands = append(commands, fsm.Command{Kind: fsm.Touch, Name: benchName(i), Token: uint64(i + 1), Attempt: sema.Attempt{Client: benchClient(i)}})
		}
		entry := entryOf(t, fsm.Stamp{Term: 1}, commands...)
		captured := capture(t, m)
		runtime.ReadMemStats(&before)
		apply(t, m, entry)
		runtime.ReadMemStats(&after)
		captured.Release()
		bytes, n = bytes+after.TotalAlloc-before.TotalAlloc, n+fsm.MaxCommands
	}
	if bytes /= n; bytes > mostBytes {
		t.Errorf("%d bytes a touch, want at most %d", bytes, mostBytes)
	}
	t.Logf("%d bytes a touch", bytes)
}
