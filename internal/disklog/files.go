package disklog

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/types"

	"github.com/semanode/sema/internal/sabotage"
)

// slack is how much longer a segment's file is made than what fills it, at most: the
// append that goes over the limit, and the index behind it, need room too.
const slack = 1 << 20

// makeSegment makes the file of a segment, or makes it anew: zeros that are on
// disk, under a name that is on disk.
func makeSegment(dir, name string, limit int64) (err error) {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("segment %s cannot be made: %w", path, err), os.Remove(path))
		}
	}()
	if err = writeZeros(f, 0, limit+min(limit, slack)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(dir)
}

func writeZeros(f *os.File, from, to int64) error {
	for from < to {
		n, err := f.WriteAt(zeros[:min(to-from, int64(len(zeros)))], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// files is the file system as raft-wal sees it.
type files struct{}

var _ types.VFS = files{}

// ListDir implements [types.VFS].
func (files) ListDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// Create opens a segment that is new to raft-wal; the table has made it already,
// see [table.CommitState]. It is called for a segment that is missing, too, and is
// the one to notice.
func (files) Create(dir, name string, _ uint64) (types.WritableFile, error) {
	return openFile(filepath.Join(dir, name))
}

// Delete implements [types.VFS].
func (files) Delete(dir, name string) error {
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

// OpenReader implements [types.VFS].
func (files) OpenReader(dir, name string) (types.ReadableFile, error) {
	return os.Open(filepath.Join(dir, name))
}

// OpenWriter implements [types.VFS].
func (files) OpenWriter(dir, name string) (types.WritableFile, error) {
	return openFile(filepath.Join(dir, name))
}

// file is a segment. It was synced with its length and its name when it was made,
// so that an append needs its bytes synced and nothing else.
type file struct {
	*os.File
	length int64 // of what is on disk; zeros behind what was written
}

func openFile(path string) (types.WritableFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{f, info.Size()}, nil
}

// WriteAt implements [io.WriterAt]. An append that is longer than what is left of
// the file waits for the file to be longer first, so that a file is never shorter
// than an append in it, not even a torn one.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	if end > math.MaxUint32 { // raft-wal counts in 32 bits
		return 0, fmt.Errorf("%s would be longer than 4 GiB", f.Name())
	}
	if end > f.length {
		longer := end + slack
		if err := errors.Join(writeZeros(f.File, f.length, longer), f.File.Sync()); err != nil {
			return 0, err
		}
		f.length = longer
	}
	return f.File.WriteAt(p, off)
}

// Sync implements [types.WritableFile].
func (f *file) Sync() error {
	if sabotage.On(sabotage.UnsyncedLog) {
		return nil
	}
	return syncData(f.File)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
