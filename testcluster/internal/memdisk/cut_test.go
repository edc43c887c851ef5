package memdisk_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/memdisk"
)

// writes is every operation that writes and syncs, and what a cut that comes in
// between takes.
var writes = []struct {
	name string
	op   func(host.Disk, raft.SnapshotSink) error
	lost memdisk.Lost
}{
	{"StoreLog", func(d host.Disk, _ raft.SnapshotSink) error { return d.StoreLog(entry(4, "new")) },
		memdisk.Lost{Entries: 1}},
	{"StoreLogs", func(d host.Disk, _ raft.SnapshotSink) error {
		return d.StoreLogs([]*raft.Log{entry(3, "new"), entry(4, "new"), entry(9, "new")})
	}, memdisk.Lost{Entries: 3}},
	{"DeleteRange", func(d host.Disk, _ raft.SnapshotSink) error { return d.DeleteRange(1, 2) }, memdisk.Lost{}},
	{"Set", func(d host.Disk, _ raft.SnapshotSink) error { return d.Set([]byte("vote"), []byte("new")) },
		memdisk.Lost{Keys: 1}},
	{"Set of a new key", func(d host.Disk, _ raft.SnapshotSink) error { return d.Set([]byte("x"), []byte("new")) },
		memdisk.Lost{Keys: 1}},
	{"SetUint64", func(d host.Disk, _ raft.SnapshotSink) error { return d.SetUint64([]byte("term"), 9) },
		memdisk.Lost{Keys: 1}},
	{"sink.Close", func(_ host.Disk, sink raft.SnapshotSink) error { return sink.Close() },
		memdisk.Lost{Snapshots: 1}},
}

// prepare puts things on an empty disk, and a snapshot to be closed.
func prepare(t *testing.T, d host.Disk) raft.SnapshotSink {
	t.Helper()
	fill(t, d, 1, 3)
	noError(t, d.Set([]byte("vote"), []byte("old")))
	noError(t, d.SetUint64([]byte("term"), 1))
	snapshot(t, d, 1, "one")
	snapshot(t, d, 1, "one again")
	snapshot(t, d, 2, "two")
	return begin(t, d, 3, "three")
}

// state is all that prepare and writes have put on the disk.
func state(t *testing.T, d host.Disk) string {
	t.Helper()
	var text string
	for i := range uint64(12) {
		var e raft.Log
		if d.GetLog(i, &e) == nil {
			text += fmt.Sprintf("%d%s ", e.Index, e.Data)
		}
	}
	vote, _ := d.Get([]byte("vote"))
	x, _ := d.Get([]byte("x"))
	term, err := d.GetUint64([]byte("term"))
	noError(t, err)
	list, err := d.List()
	noError(t, err)
	for _, meta := range list {
		text += fmt.Sprintf("snapshot %d ", meta.Index)
	}
	return text + fmt.Sprintf("vote %s x %s term %d", vote, x, term)
}

// A cut while a write is under way, at each of its stages.
func TestCutDuringAWrite(t *testing.T) {
	const latency = 10 * time.Millisecond
	for _, w := range writes {
		for _, c := range []struct {
			name    string
			at      time.Duration
			keep    bool
			written bool // by then
			acked   bool // by then
		}{
			{"before the write", latency - 1, true, false, false},
			{"before the sync", latency + 1, false, true, false},
			{"before the sync, kept", latency + 1, true, true, false},
			{"at the end of the sync", 2*latency - 1, false, true, false},
			{"after the sync", 2*latency + 1, false, true, true},
		} {
			t.Run(w.name+"/"+c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var disk memdisk.Disk
					d := open(t, &disk)
					sink := prepare(t, d)
					before := state(t, d)
					disk.SetLatency(latency, latency)
					done := start(func() error { return w.op(d, sink) })
					advance(c.at)
					during := state(t, d)
					if changed := during != before; changed != c.written {
						t.Fatalf("before %s, during the write %s", before, during)
					}
					lost := disk.Cut(c.keep)
					synctest.Wait()
					var wantLost memdisk.Lost
					if c.acked {
						noError(t, returned(t, done))
					} else {
						wantErr(t, returned(t, done), memdisk.ErrCut)
						if c.written && !c.keep {
							wantLost = w.lost
						}
					}
					want(t, "lost", lost, wantLost)
					want(t, "lost in all", disk.Stats().Lost, wantLost)
					after := before
					if c.written && (c.acked || c.keep) {
						after = during
					}
					want(t, "after the cut", state(t, open(t, &disk)), after)
					disk.Cut(false)
					want(t, "after another cut", state(t, open(t, &disk)), after)
				})
			})
		}
	}
}

// advance lets virtual time pass, and everything settle.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestSyncCoversAllThatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk memdisk.Disk
		d := open(t, &disk)
		disk.SetLatency(0, time.Hour)
		slow := start(func() error { return d.StoreLog(entry(1, "a")) })
		synctest.Wait()
		disk.SetLatency(0, 0)
		noError(t, d.Set([]byte("vote"), []byte("b")))
		want(t, "lost", disk.Cut(false), memdisk.Lost{})
		synctest.Wait()
		wantErr(t, returned(t, slow), memdisk.ErrCut)
		holds(t, open(t, &disk), "1a")
	})
}

func TestManyUnsyncedWritesAreUndoneInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk memdisk.Disk
		d := open(t, &disk)
		sink := prepare(t, d)
		fill(t, d, 4, 8)
		before := state(t, d)
		disk.SetLatency(0, time.Hour)
		for _, op := range []func() error{
			func() error { return d.DeleteRange(5, 100) },
			func() error { return d.StoreLogs([]*raft.Log{entry(5, "x"), entry(6, "y"), entry(6, "z")}) },
			func() error { return d.DeleteRange(1, 3) },
			func() error { return d.StoreLogs([]*raft.Log{entry(6, "Y"), entry(11, "gap")}) },
			func() error { return d.DeleteRange(1, 100) },
			func() error { return d.StoreLogs([]*raft.Log{entry(2, "low")}) },
			func() error { return d.Set([]byte("vote"), []byte("1")) },
			func() error { return d.Set([]byte("vote"), []byte("2")) },
			sink.Close,
		} {
			start(op)
			synctest.Wait()
		}
		want(t, "unsynced", state(t, d), "2low snapshot 3 snapshot 2 vote 2 x  term 1")
		want(t, "lost", disk.Cut(false), memdisk.Lost{Entries: 4, Keys: 1, Snapshots: 1})
		want(t, "after the cut", state(t, open(t, &disk)), before)
	})
}

func TestOneHandleAtATime(t *testing.T) {
	var disk memdisk.Disk
	first := open(t, &disk)
	_, err := disk.Open()
	wantErr(t, err, memdisk.ErrInUse)
	wantText(t, err, "disk is in use")
	noError(t, first.Close())
	second := open(t, &disk)
	noError(t, first.Close()) // does not end the second
	wantErr(t, disk.Wrap(second).StoreLog(entry(1, "a")), memdisk.ErrInUse)
	noError(t, second.StoreLog(entry(1, "a")))
	disk.Cut(false)
	third := open(t, &disk)
	wantErr(t, second.Close(), memdisk.ErrCut)
	holds(t, third, "1a")
	want(t, "cuts", disk.Stats().Cuts, 1)
}

func TestEveryOperationOfACutHandleFails(t *testing.T) {
	var disk memdisk.Disk
	d := open(t, &disk)
	sink := prepare(t, d)
	list, err := d.List()
	noError(t, err)
	_, reader, err := d.Open(list[0].ID)
	noError(t, err)
	before := state(t, d)
	disk.Cut(true)
	next := open(t, &disk)
	for name, op := range operations(d, sink, reader, list[0].ID) {
		if err := op(); !errors.Is(err, memdisk.ErrCut) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want(t, "the disk", state(t, next), before)
	want(t, "interrupted", disk.Stats().Interrupted, 0)
}

// operations is all that can be done with a handle.
func operations(d host.Disk, sink raft.SnapshotSink, r io.ReadCloser, id string) map[string]func() error {
	key := []byte("vote")
	return map[string]func() error{
		"FirstIndex":  func() error { _, err := d.FirstIndex(); return err },
		"LastIndex":   func() error { _, err := d.LastIndex(); return err },
		"GetLog":      func() error { return d.GetLog(1, &raft.Log{}) },
		"StoreLog":    func() error { return d.StoreLog(entry(4, "x")) },
		"StoreLogs":   func() error { return d.StoreLogs([]*raft.Log{entry(4, "x")}) },
		"DeleteRange": func() error { return d.DeleteRange(1, 2) },
		"Set":         func() error { return d.Set(key, key) },
		"Get":         func() error { _, err := d.Get(key); return err },
		"SetUint64":   func() error { return d.SetUint64(key, 1) },
		"GetUint64":   func() error { _, err := d.GetUint64([]byte("term")); return err },
		"Create":      func() error { _, err := d.Create(1, 9, 9, raft.Configuration{}, 1, nil); return err },
		"List":        func() error { _, err := d.List(); return err },
		"Open":        func() error { _, _, err := d.Open(id); return err },
		"sink.Write":  func() error { _, err := sink.Write([]byte("x")); return err },
		"sink end":    func() error { return errors.Join(sink.Close(), sink.Cancel()) },
		"reader.Read": func() error { _, err := r.Read(make([]byte, 1)); return err },
		"reader end":  r.Close,
		"Close":       d.Close,
	}
}

// A process that ends leaves its writes to the machine, whose power may fail.
func TestCutAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk memdisk.Disk
		d := open(t, &disk)
		disk.SetLatency(0, time.Second)
		done := start(func() error { return d.StoreLog(entry(1, "a")) })
		synctest.Wait()
		noError(t, d.Close())
		synctest.Wait()
		if err := returned(t, done); err == nil {
			t.Fatal("a write succeeded that was not synced when its handle was closed")
		}
		d = open(t, &disk)
		holds(t, d, "1a")
		noError(t, d.Close())
		want(t, "lost", disk.Cut(false), memdisk.Lost{Entries: 1})
		holds(t, open(t, &disk), "")
	})
}
