// Package host tells what a benchmark ran on.
package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// Facts describe a machine, for people to read.
type Facts struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryGB   int    `json:"memoryGB"` // 0 if not known
	Kernel     string `json:"kernel"`
	FileSystem string `json:"fileSystem"` // where the data was
	Go         string `json:"go"`
}

// Volatile reports whether the data was in memory, so that a sync costs nothing.
func (f Facts) Volatile() bool { return f.FileSystem == "tmpfs" || f.FileSystem == "ramfs" }

const unknown = "unknown"

// Look describes this machine and the disk below dir. What it cannot find out is
// "unknown".
func Look(dir string) Facts {
	f := Facts{CPU: unknown, Cores: runtime.NumCPU(), Kernel: runtime.GOOS, FileSystem: unknown, Go: runtime.Version() + " " + runtime.GOARCH}
	look(&f, dir)
	return f
}

// Sync is how long the disk takes to make 4 kB last.
type Sync struct {
	P50, P99 time.Duration
}

// The loop of MeasureSync: it writes in place, like a log that was allocated before.
const (
	syncs     = 500
	syncBytes = 4096
	syncFile  = 64 // of syncBytes
)

// MeasureSync writes 4 kB and syncs, again and again, in a file below dir.
func MeasureSync(dir string) (_ Sync, err error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return Sync{}, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	if _, err := f.Write(make([]byte, syncFile*syncBytes)); err != nil {
		return Sync{}, err
	}
	if err := f.Sync(); err != nil {
		return Sync{}, err
	}
	page := make([]byte, syncBytes)
	took := make([]time.Duration, syncs)
	for i := range took {
		page[0] = byte(i)
		began := time.Now()
		if _, err := f.WriteAt(page, int64(i%syncFile)*syncBytes); err != nil {
			return Sync{}, err
		}
		if err := syncData(f); err != nil {
			return Sync{}, fmt.Errorf("sync %s: %w", f.Name(), err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return Sync{P50: took[syncs/2], P99: took[syncs*99/100]}, nil
}
