package memdisk_test

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/testcluster/internal/memdisk"
)

// journal is a hook that renders what it is told, and then spoils it.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) told(list []*raft.Log) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(list) == 0 {
		j.entries = append(j.entries, "nothing")
	}
	for _, e := range list {
		j.entries = append(j.entries, string(e.Data))
		copy(e.Data, "XXXX")
		e.Index = 0
	}
}

func (j *journal) want(t *testing.T, entries ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Equal(j.entries, entries) {
		t.Fatalf("told %q, want %q", j.entries, entries)
	}
}

func TestOnStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk memdisk.Disk
		var j journal
		d := open(t, &disk)
		disk.OnStore(j.told)
		mine := []*raft.Log{entry(1, "a"), entry(2, "b")}
		noError(t, d.StoreLogs(mine))
		noError(t, d.SetUint64([]byte("term"), 1))
		noError(t, d.StoreLogs(nil))
		j.want(t, "a", "b")
		holds(t, d, "1a 2b")
		want(t, "the caller's entry", string(mine[0].Data), "a")

		disk.FailWrites(syscall.EIO)
		wantErr(t, d.StoreLog(entry(3, "failed")), syscall.EIO)
		disk.FailWrites(nil)
		disk.CutAtNextWrite(false)
		wantErr(t, d.StoreLog(entry(3, "lost")), memdisk.ErrCut)
		j.want(t, "a", "b")
		d = open(t, &disk)
		disk.CutAtNextWrite(true)
		wantErr(t, d.StoreLog(entry(3, "kept")), memdisk.ErrCut)
		j.want(t, "a", "b", "kept")

		d = open(t, &disk)
		disk.SetLatency(0, time.Second)
		slow := start(func() error { return d.StoreLog(entry(4, "slow")) })
		synctest.Wait()
		j.want(t, "a", "b", "kept")
		disk.SetLatency(0, 0)
		noError(t, d.Set([]byte("vote"), nil)) // syncs the other's write too
		j.want(t, "a", "b", "kept", "slow")
		disk.Cut(false)
		synctest.Wait()
		wantErr(t, returned(t, slow), memdisk.ErrCut)
		j.want(t, "a", "b", "kept", "slow")

		d = open(t, &disk)
		disk.OnStore(nil)
		noError(t, d.StoreLog(entry(5, "unheard")))
		j.want(t, "a", "b", "kept", "slow")
	})
}
