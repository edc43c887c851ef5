package memdisk_test

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/testcluster/internal/memdisk"
)

// Many goroutines use a disk while others break it, in real time. What was
// acknowledged is there at the end.
func TestConcurrentUse(t *testing.T) {
	const writers, each = 4, 500
	var disk memdisk.Disk
	var told atomic.Int64
	disk.OnStore(func(list []*raft.Log) { told.Add(int64(len(list))) })
	disk.SetGate(func(<-chan struct{}) {})
	var handle atomic.Pointer[host.Disk]
	reopen := func() {
		d, err := disk.Open()
		if err != nil {
			t.Error(err)
			return
		}
		handle.Store(&d)
	}
	reopen()

	var users sync.WaitGroup
	for w := range writers {
		users.Go(func() {
			for i := range each {
				index := uint64(i*writers + w + 1)
				for !use(*handle.Load(), index) {
				}
			}
		})
	}
	stop := make(chan struct{})
	var breaker sync.WaitGroup
	breaker.Go(func() { breakDisk(&disk, stop, reopen) })
	users.Wait()
	close(stop)
	breaker.Wait()
	disk.Cut(false)

	d := open(t, &disk)
	span(t, d, 1, writers*each)
	for i := range uint64(writers * each) {
		noError(t, d.GetLog(i+1, &raft.Log{}))
	}
	if told.Load() < writers*each {
		t.Fatalf("told of %d entries of %d", told.Load(), writers*each)
	}
	stats := disk.Stats()
	t.Logf("%+v", stats)
	if stats.Stalled == 0 || stats.Failed == 0 || stats.Cuts == 0 {
		t.Fatal("nothing was broken")
	}
}

// breakDisk has every fault in turn, and cuts the disk off after each round.
func breakDisk(disk *memdisk.Disk, stop <-chan struct{}, reopen func()) {
	for i := 0; ; i++ {
		disk.SetLatency(time.Duration(i%2)*50*time.Microsecond, time.Duration(i%3)*50*time.Microsecond)
		disk.Stall()
		<-time.After(200 * time.Microsecond)
		disk.FailWrites(syscall.EIO)
		disk.Unstall()
		<-time.After(200 * time.Microsecond)
		armed := disk.CutAtNextWrite(i%4 == 0)
		disk.FailWrites(nil)
		select {
		case <-stop:
			return
		case <-armed:
		case <-time.After(time.Millisecond):
			if disk.Disarm() {
				disk.Cut(i%4 == 1)
			}
		}
		reopen()
		<-time.After(time.Millisecond) // for someone to succeed
	}
}

// use does a bit of everything and reports whether the entry was stored.
func use(d host.Disk, index uint64) bool {
	stored := d.StoreLog(entry(index, ".")) == nil
	_ = d.GetLog(index, &raft.Log{})
	_, _ = d.LastIndex()
	_ = d.SetUint64([]byte("term"), index)
	_, _ = d.Get([]byte("vote"))
	if index%50 == 0 {
		if sink, err := d.Create(1, index, 1, raft.Configuration{}, 1, nil); err == nil {
			_, _ = sink.Write([]byte("data"))
			_ = sink.Close()
		}
		_, _ = d.List()
	}
	return stored
}
