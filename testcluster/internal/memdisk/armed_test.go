package memdisk_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/testcluster/internal/memdisk"
)

func TestCutAtNextWrite(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprintf("keep %v", keep), func(t *testing.T) {
			var disk memdisk.Disk
			d := open(t, &disk)
			noError(t, d.StoreLog(entry(1, "a")))
			cut := disk.CutAtNextWrite(keep)
			noError(t, d.SetUint64([]byte("term"), 2)) // is no StoreLogs
			noError(t, d.DeleteRange(9, 9))
			noError(t, d.StoreLogs(nil))
			wantErr(t, d.StoreLogs([]*raft.Log{entry(2, "b"), entry(3, "c")}), memdisk.ErrCut)
			lost, ok := <-cut
			want(t, "fired", ok, true)
			d = open(t, &disk)
			if keep {
				want(t, "lost", lost, memdisk.Lost{})
				holds(t, d, "1a 2b 3c")
			} else {
				want(t, "lost", lost, memdisk.Lost{Entries: 2})
				holds(t, d, "1a")
			}
			_, ok = <-cut
			want(t, "fired again", ok, false)
			noError(t, d.StoreLog(entry(2, "B")))
			stats := disk.Stats()
			want(t, "cuts, armed cuts, interrupted", [3]int{stats.Cuts, stats.ArmedCuts, stats.Interrupted}, [3]int{1, 1, 1})
		})
	}
}

func TestDisarm(t *testing.T) {
	var disk memdisk.Disk
	want(t, "disarmed nothing", disk.Disarm(), false)
	replaced := disk.CutAtNextWrite(true)
	cut := disk.CutAtNextWrite(false)
	_, ok := <-replaced
	want(t, "the replaced one fired", ok, false)

	d := open(t, &disk)
	disk.FailWrites(io.ErrShortWrite)
	wantErr(t, d.StoreLog(entry(1, "a")), io.ErrShortWrite)
	disk.FailWrites(nil)
	disk.Cut(false)
	want(t, "still armed", disk.Disarm(), true)
	_, ok = <-cut
	want(t, "the disarmed one fired", ok, false)
	noError(t, open(t, &disk).StoreLog(entry(1, "a")))
	want(t, "armed cuts", disk.Stats().ArmedCuts, 0)
}
