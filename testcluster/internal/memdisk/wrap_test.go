package memdisk_test

import (
	"io"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/memdisk"
)

// A cut in front of a real disk: the node is gone, and what it wrote is there.
func TestWrapCutLosesNothing(t *testing.T) {
	dir := t.TempDir()
	var disk memdisk.Disk
	var j journal
	disk.OnStore(j.told)
	d := disk.Wrap(openDirectory(t, dir))
	noError(t, d.StoreLog(entry(1, "a")))
	cut := disk.CutAtNextWrite(false)
	wantErr(t, d.StoreLog(entry(2, "b")), memdisk.ErrCut)
	want(t, "lost", <-cut, memdisk.Lost{})
	wantErr(t, d.StoreLog(entry(3, "c")), memdisk.ErrCut)
	wantErr(t, d.Close(), memdisk.ErrCut) // and the files can be opened again
	wantErr(t, d.Close(), memdisk.ErrCut)
	d = disk.Wrap(openDirectory(t, dir))
	holds(t, d, "1a 2b")
	j.want(t, "a", "b")

	sink := begin(t, d, 2, "two")
	disk.FailWrites(syscall.ENOSPC)
	wantErr(t, d.StoreLog(entry(3, "c")), syscall.ENOSPC)
	wantErr(t, sink.Close(), syscall.ENOSPC)
	disk.FailWrites(nil)
	holds(t, d, "1a 2b")
	lists(t, d, "")
	snapshot(t, d, 2, "two")
	lists(t, d, "2:two")
	noError(t, d.Close())
}

func TestWrapHasTheFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var platter, front memdisk.Disk
		d := front.Wrap(open(t, &platter))
		front.SetLatency(time.Second, time.Minute)
		begun := time.Now()
		noError(t, d.StoreLog(entry(1, "a")))
		want(t, "time of a write", time.Since(begun), time.Minute+time.Second)

		front.Stall()
		stalled := start(func() error { return d.StoreLog(entry(2, "b")) })
		advance(time.Hour)
		underWay(t, stalled)
		want(t, "lost", front.Cut(false), memdisk.Lost{})
		synctest.Wait()
		wantErr(t, returned(t, stalled), memdisk.ErrCut)
		front.Unstall()
		wantErr(t, d.Close(), memdisk.ErrCut)
		d = front.Wrap(open(t, &platter)) // which d.Close has freed
		holds(t, d, "1a")
		written := start(func() error { return d.StoreLog(entry(2, "b")) })
		advance(2 * time.Second)
		front.Cut(false)
		synctest.Wait()
		wantErr(t, returned(t, written), memdisk.ErrCut)
		wantErr(t, d.Close(), memdisk.ErrCut)
		holds(t, open(t, &platter), "1a 2b")
		stats := front.Stats()
		want(t, "faults", [4]int{stats.SlowWrites, stats.SlowSyncs, stats.Stalled, stats.Interrupted}, [4]int{3, 2, 1, 2})
	})
}

// slowDisk has one StoreLogs under way when it is closed.
type slowDisk struct {
	host.Disk
	entered, leave chan struct{}
	inside         atomic.Int64
	closedInside   atomic.Int64 // operations inside when it was closed
	closed         atomic.Int64
	cancelled      atomic.Int64
}

func (d *slowDisk) StoreLogs(entries []*raft.Log) error {
	d.inside.Add(1)
	defer d.inside.Add(-1)
	close(d.entered)
	<-d.leave
	return d.Disk.StoreLogs(entries)
}

func (d *slowDisk) Close() error {
	d.closed.Add(1)
	d.closedInside.Add(d.inside.Load())
	return io.ErrNoProgress
}

func (d *slowDisk) IsMonotonic() bool { return true }

type countingSink struct {
	raft.SnapshotSink
	cancelled *atomic.Int64
}

func (s countingSink) Cancel() error { s.cancelled.Add(1); return s.SnapshotSink.Cancel() }

func (d *slowDisk) Create(v raft.SnapshotVersion, index, term uint64, c raft.Configuration, ci uint64,
	trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := d.Disk.Create(v, index, term, c, ci, trans)
	return countingSink{sink, &d.cancelled}, err
}

func TestWrapCloseWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var platter, front memdisk.Disk
		var j journal
		front.OnStore(j.told)
		inner := &slowDisk{Disk: open(t, &platter), entered: make(chan struct{}), leave: make(chan struct{})}
		d := front.Wrap(inner)
		writing := start(func() error { return d.StoreLog(entry(1, "a")) })
		<-inner.entered
		front.Stats() // no mutex is held meanwhile
		closing := start(d.Close)
		synctest.Wait()
		underWay(t, closing)
		close(inner.leave)
		synctest.Wait()
		wantErr(t, returned(t, closing), io.ErrNoProgress)
		noError(t, d.Close())
		if err := returned(t, writing); err == nil {
			t.Fatal("a write succeeded on a handle that was closed")
		}
		want(t, "closed, with operations inside", [2]int64{inner.closed.Load(), inner.closedInside.Load()}, [2]int64{1, 0})
		holds(t, inner.Disk, "1a")
		j.want(t, "a") // for it is on the disk
	})
}

func TestWrapPassesOn(t *testing.T) {
	var front memdisk.Disk
	inner := &slowDisk{Disk: open(t, new(memdisk.Disk))}
	d := front.Wrap(inner)
	monotonic := func(d host.Disk) bool { return d.(raft.MonotonicLogStore).IsMonotonic() }
	want(t, "monotonic", monotonic(d), true)
	want(t, "monotonic in memory", monotonic(inner.Disk), false)

	sink := begin(t, d, 1, "one")
	front.FailWrites(syscall.EIO)
	wantErr(t, sink.Close(), syscall.EIO)
	noError(t, sink.Cancel())
	want(t, "cancelled once, so that its files are removed", inner.cancelled.Load(), 1)
}
