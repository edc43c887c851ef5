package memdisk_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/testcluster/internal/memdisk"
)

func TestForgetSync(t *testing.T) {
	for _, c := range []struct {
		name      string
		writeback time.Duration // as set
		cutAfter  time.Duration
		lost      memdisk.Lost
		left      string
	}{
		{"cut at once", 0, 0, memdisk.Lost{Entries: 2, Keys: 1, Snapshots: 1}, ""},
		{"cut just before", 0, 5*time.Second - 1, memdisk.Lost{Entries: 2, Keys: 1, Snapshots: 1}, ""},
		{"cut between", 0, 5 * time.Second, memdisk.Lost{Entries: 1, Keys: 1, Snapshots: 1}, "1a"},
		{"cut after", 0, 6 * time.Second, memdisk.Lost{}, "1a 2b"},
		{"another delay", time.Minute, time.Minute, memdisk.Lost{Entries: 1, Keys: 1, Snapshots: 1}, "1a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var disk memdisk.Disk
				d := open(t, &disk)
				disk.SetLatency(0, time.Minute)
				disk.ForgetSync(true)
				if c.writeback != 0 {
					disk.SetWriteback(c.writeback)
				}
				begun := time.Now()
				noError(t, d.StoreLog(entry(1, "a")))
				if c.cutAfter >= time.Second {
					advance(time.Second)
				}
				noError(t, d.StoreLog(entry(2, "b")))
				noError(t, d.Set([]byte("vote"), []byte("me")))
				snapshot(t, d, 2, "data")
				holds(t, d, "1a 2b")
				if time.Since(begun) > time.Second {
					t.Fatal("a sync was waited for")
				}
				advance(c.cutAfter - time.Since(begun))
				want(t, "lost", disk.Cut(false), c.lost)
				holds(t, open(t, &disk), c.left)
				stats := disk.Stats()
				want(t, "forgotten, syncs", [2]int{stats.Forgotten, stats.Syncs}, [2]int{4, 0})
			})
		})
	}
}

func TestASyncMakesUpForForgottenOnes(t *testing.T) {
	var disk memdisk.Disk
	var j journal
	disk.OnStore(j.told)
	d := open(t, &disk)
	disk.ForgetSync(true)
	noError(t, d.StoreLog(entry(1, "a")))
	j.want(t, "a") // it has succeeded
	disk.ForgetSync(false)
	noError(t, d.SetUint64([]byte("term"), 1))
	want(t, "lost", disk.Cut(false), memdisk.Lost{})
	holds(t, open(t, &disk), "1a")
	j.want(t, "a")
}

// What one process has forgotten the next one finds, and a power cut takes.
func TestForgottenWritesOutliveTheirHandle(t *testing.T) {
	var disk memdisk.Disk
	disk.ForgetSync(true)
	d := open(t, &disk)
	noError(t, d.StoreLog(entry(1, "a")))
	noError(t, d.Close())
	holds(t, open(t, &disk), "1a")
	want(t, "lost", disk.Cut(false), memdisk.Lost{Entries: 1})
	holds(t, open(t, &disk), "")
}
