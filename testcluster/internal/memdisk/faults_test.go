package memdisk_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/memdisk"
)

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk memdisk.Disk
		d := open(t, &disk)
		sink := prepare(t, d)
		disk.SetLatency(3*time.Millisecond, 4*time.Millisecond)
		begun := time.Now()
		for _, w := range writes {
			noError(t, w.op(d, sink))
		}
		want(t, "time for all writes", time.Since(begun), time.Duration(len(writes))*7*time.Millisecond)
		state(t, d)
		want(t, "time with reads", time.Since(begun), time.Duration(len(writes))*7*time.Millisecond)
		stats := disk.Stats()
		want(t, "slow writes and syncs", [2]int{stats.SlowWrites, stats.SlowSyncs}, [2]int{len(writes), len(writes)})

		disk.SetLatency(0, 0)
		begun = time.Now()
		noError(t, d.StoreLog(entry(7, "x")))
		want(t, "time of a write without faults", time.Since(begun), 0)
		want(t, "slow writes", disk.Stats().SlowWrites, len(writes))
	})
}

// fixture is a disk with things on it and all that can be done with it.
func fixture(t *testing.T, disk *memdisk.Disk) (d host.Disk, ops map[string]func() error) {
	t.Helper()
	d = open(t, disk)
	sink := prepare(t, d)
	list, err := d.List()
	noError(t, err)
	_, reader, err := d.Open(list[0].ID)
	noError(t, err)
	ops = operations(d, sink, reader, list[0].ID)
	for _, ends := range []string{"Close", "sink end", "reader end"} {
		delete(ops, ends)
	}
	return d, ops
}

func TestStall(t *testing.T) {
	for _, cut := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var disk memdisk.Disk
			d, ops := fixture(t, &disk)
			before := state(t, d)
			disk.Stall()
			var stalled []<-chan error
			for _, op := range ops {
				stalled = append(stalled, start(op))
			}
			synctest.Wait()
			disk.Stall() // changes nothing
			advance(time.Hour)
			for _, done := range stalled {
				underWay(t, done)
			}
			want(t, "stalled", disk.Stats().Stalled, len(ops))
			if cut {
				disk.Cut(true)
			} else {
				disk.Unstall()
			}
			synctest.Wait()
			for _, done := range stalled {
				switch err := returned(t, done); {
				case cut:
					wantErr(t, err, memdisk.ErrCut)
				case err != nil && !errors.Is(err, raft.ErrLogNotFound): // GetLog after DeleteRange
					t.Fatal(err)
				}
			}
			if cut {
				want(t, "interrupted", disk.Stats().Interrupted, len(ops))
				disk.Unstall()
				want(t, "the disk", state(t, open(t, &disk)), before)
			}
		})
	}
}

// A disk that stalls during a sync holds the sync.
func TestStallDuringSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk memdisk.Disk
		d := open(t, &disk)
		disk.SetLatency(0, time.Second)
		done := start(func() error { return d.StoreLog(entry(1, "a")) })
		advance(time.Millisecond)
		disk.Stall()
		advance(time.Hour)
		underWay(t, done)
		want(t, "lost", disk.Cut(false), memdisk.Lost{Entries: 1})
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk memdisk.Disk
		d, ops := fixture(t, &disk)
		resume := make(chan struct{})
		disk.SetGate(func(cut <-chan struct{}) {
			select {
			case <-resume:
			case <-cut:
			}
		})
		pauseAll := func() (paused []<-chan error) {
			for _, op := range ops {
				paused = append(paused, start(op))
			}
			advance(time.Minute)
			for _, done := range paused {
				underWay(t, done)
			}
			return paused
		}
		paused := pauseAll()
		close(resume)
		synctest.Wait()
		for _, done := range paused {
			returned(t, done)
		}
		want(t, "paused", disk.Stats().Paused, len(ops))
		noError(t, d.StoreLog(entry(8, "x")))
		want(t, "paused after the pause", disk.Stats().Paused, len(ops))

		resume = make(chan struct{})
		paused = pauseAll()
		before := disk.Stats().Writes
		disk.Cut(true)
		synctest.Wait()
		for _, done := range paused {
			wantErr(t, returned(t, done), memdisk.ErrCut)
		}
		want(t, "writes", disk.Stats().Writes, before)
		disk.SetGate(nil)
		holds(t, open(t, &disk), "3. 4x 8x")
	})
}

func TestFailedWritesChangeNothing(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "raft.db", Err: syscall.ENOSPC}
	for _, w := range writes {
		t.Run(w.name, func(t *testing.T) {
			var disk memdisk.Disk
			d := open(t, &disk)
			sink := prepare(t, d)
			before := state(t, d)
			disk.FailWrites(full)
			err := w.op(d, sink)
			wantErr(t, err, syscall.ENOSPC)
			want(t, "error", err, error(full))
			want(t, "failed", disk.Stats().Failed, 1)
			want(t, "the disk", state(t, d), before)
			disk.FailWrites(nil)
			noError(t, d.StoreLog(entry(7, "x")))
			noError(t, d.DeleteRange(7, 7))
			want(t, "lost", disk.Cut(false), memdisk.Lost{})
			want(t, "the disk after a sync and a cut", state(t, open(t, &disk)), before)
		})
	}
}

func TestFailedSnapshot(t *testing.T) {
	var disk memdisk.Disk
	d := open(t, &disk)
	sink := begin(t, d, 5, "five")
	closed := begin(t, d, 6, "six")
	disk.FailWrites(syscall.EIO)
	_, err := d.Create(1, 7, 1, raft.Configuration{}, 1, nil)
	wantErr(t, err, syscall.EIO)
	_, err = sink.Write([]byte("x"))
	wantErr(t, err, syscall.EIO)
	noError(t, sink.Cancel())
	wantErr(t, closed.Close(), syscall.EIO)
	disk.FailWrites(nil)
	wantErr(t, closed.Close(), syscall.EIO) // it stays so
	lists(t, d, "")
	want(t, "failed", disk.Stats().Failed, 3)
	_, err = closed.Write([]byte("x"))
	wantErr(t, err, fs.ErrClosed)
}

func TestStatsOfAQuietDisk(t *testing.T) {
	var disk memdisk.Disk
	d := open(t, &disk)
	sink := prepare(t, d) // three writes and three snapshots
	noError(t, sink.Close())
	want(t, "stats", disk.Stats(), memdisk.Stats{Writes: 7, Syncs: 7})
}
