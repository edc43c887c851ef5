package crashdisk_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/semanode/sema/internal/crashdisk"
)

const size = 16 << 20

func newDisk(t *testing.T) *crashdisk.Disk {
	t.Helper()
	d, err := crashdisk.New(t.TempDir(), size)
	if err != nil {
		t.Skipf("no such disks here: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := d.Format(size, 1024); err != nil {
		t.Fatal(err)
	}
	return d
}

func mount(t *testing.T, d *crashdisk.Disk) string {
	t.Helper()
	dir := t.TempDir()
	if err := d.Mount(dir, "noatime"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := crashdisk.Unmount(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestCut writes a file and syncs it, writes another and does not: after the cut the
// one is there, and the other is not. A disk that lies loses both.
func TestCut(t *testing.T) {
	for name, lies := range map[string]bool{"honest": false, "lies": true} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			dir := mount(t, d)
			if lies {
				d.Lie()
			}
			synced := bytes.Repeat([]byte("synced"), 1000)
			for name, sync := range map[string]bool{"synced": true, "not": false} {
				f, err := os.Create(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.Write(synced); err != nil {
					t.Fatal(err)
				}
				if sync {
					if err := f.Sync(); err != nil {
						t.Fatal(err)
					}
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			moments := crashdisk.Capture(func() {}, d)
			image, _, lost := moments[0].Image(rand.New(rand.NewPCG(1, 3)))
			again := newDisk(t)
			again.Load(image)
			left := mount(t, again)
			got, err := os.ReadFile(filepath.Join(left, "synced"))
			if lies == (err == nil && bytes.Equal(got, synced)) {
				t.Errorf("what was synced: %d bytes, %v; %d sectors were lost", len(got), err, lost)
			}
			if got, err := os.ReadFile(filepath.Join(left, "not")); err == nil && bytes.Equal(got, synced) {
				t.Error("what was not synced is there")
			}
		})
	}
}
