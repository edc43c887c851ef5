package memdisk_test

import (
	"errors"
	"testing"

	"github.com/semanode/sema/testcluster/internal/memdisk"
)

// A disk that is wiped is as a new one, but for its faults.
func TestWipe(t *testing.T) {
	var disk memdisk.Disk
	full := errors.New("full")
	for range 2 {
		d := open(t, &disk)
		unfinished := prepare(t, d)
		disk.ForgetSync(true)
		noError(t, d.StoreLog(entry(4, "unsynced")))
		disk.ForgetSync(false)
		disk.FailWrites(full)
		disk.Wipe()
		wantErr(t, d.Set([]byte("vote"), []byte("new")), memdisk.ErrCut)
		wantErr(t, unfinished.Close(), memdisk.ErrCut)

		d = open(t, &disk)
		wantErr(t, d.StoreLog(entry(1, "new")), full)
		disk.FailWrites(nil)
		last, err := d.LastIndex()
		noError(t, err)
		want(t, "last index", last, uint64(0))
		_, err = d.Get([]byte("vote"))
		wantText(t, err, "not found")
		list, err := d.List()
		noError(t, err)
		want(t, "snapshots", len(list), 0)
		noError(t, d.Close())
	}
	disk.Wipe() // nobody has it open
	want(t, "cuts", disk.Stats().Cuts, 3)
}
