package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// restoringFile marks a directory in which a backup is being restored, and is locked for
// as long as that goes on. It is there before anything else is written, node.json comes
// last, and then it goes. A node that finds it looks again: it claims a directory before it
// looks for the mark, and a restore makes the mark before it looks for a claim, so that one
// of the two sees the other.
const restoringFile = "restoring"

// restoring is the mark of a restore under way. Until it is released or abandoned, all that
// is in the directory was made by this restore, but for a node.json that it did not write.
type restoring struct {
	dir     string
	file    *os.File
	made    bool   // the directory
	own     string // the incarnation in the node.json of this restore
	removed bool   // the mark: a node may have the directory
}

// markRestoring makes a directory that is empty or not there this restore's. What one has
// left behind that was killed is removed.
func markRestoring(dir string) (m *restoring, err error) {
	if err := emptyForRestore(dir); err != nil { // before anything is made in it
		return nil, err
	}
	m = &restoring{dir: dir, made: !exists(dir)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	found, err := m.take()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.unmark())
		}
	}()
	if err := errors.Join(m.file.Sync(), syncDirectory(dir)); err != nil {
		return nil, err
	}
	if found && !exists(filepath.Join(dir, foundingFile)) {
		if err := m.clear(); err != nil {
			return nil, err
		}
	}
	return m, onlyHolds(dir, restoringFile)
}

// take makes the mark, or finds one, and locks it.
func (m *restoring) take() (found bool, err error) {
	path := filepath.Join(m.dir, restoringFile)
	if m.file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); errors.Is(err, fs.ErrExist) {
		found = true
		m.file, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return false, err
	}
	if lockFile(m.file) != nil || !isFile(m.file, path) { // the one who had it may have removed it
		return false, errors.Join(fmt.Errorf("another backup is being restored into %s", m.dir), m.file.Close())
	}
	return found, nil
}

// release ends the restore: from now on the directory is its node's.
func (m *restoring) release() error {
	if err := os.Remove(filepath.Join(m.dir, restoringFile)); err != nil {
		return err
	}
	m.removed = true
	return errors.Join(syncDirectory(m.dir), m.file.Close())
}

// abandon removes what the restore has made, and nothing else.
func (m *restoring) abandon() error {
	if m.removed {
		return nil
	}
	var errs []error
	if r, err := readFounding(m.dir); err == nil && m.own != "" && r.Incarnation == m.own {
		errs = append(errs, os.Remove(filepath.Join(m.dir, foundingFile)))
	}
	return errors.Join(append(errs, m.clear(), m.unmark())...)
}

// clear removes what a restore has written, but for the mark and node.json.
func (m *restoring) clear() error {
	var errs []error
	for _, name := range []string{logFile, walDir, snapshotDir} {
		errs = append(errs, os.RemoveAll(filepath.Join(m.dir, name)))
	}
	unpublished, err := filepath.Glob(filepath.Join(m.dir, foundingFile+".*"))
	for _, path := range unpublished {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(append(errs, err)...)
}

// unmark removes the mark, and the directory if it was made for it.
func (m *restoring) unmark() error {
	err := errors.Join(os.Remove(filepath.Join(m.dir, restoringFile)), syncDirectory(m.dir), m.file.Close())
	if m.made {
		_ = os.Remove(m.dir) // unless somebody has put something into it
	}
	return err
}

// emptyForRestore refuses a directory with anything in it, but for what a restore left
// behind that was killed.
func emptyForRestore(dir string) error {
	if exists(filepath.Join(dir, restoringFile)) && !exists(filepath.Join(dir, foundingFile)) {
		return nil
	}
	err := onlyHolds(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// onlyHolds refuses a directory that holds anything but these files, and what every file
// system has.
func onlyHolds(dir string, files ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	known := " lost+found " + strings.Join(files, " ") + " "
	for _, e := range entries {
		if name := e.Name(); !strings.Contains(known, " "+name+" ") {
			return fmt.Errorf("data directory %s is not empty, it holds %s: restore into an empty one", dir, name)
		}
	}
	return nil
}

// endRestoring refuses a directory in which a backup is being restored, to the node that
// has claimed it. A mark that nobody holds was left behind. Beside a node that has taken
// part in its cluster, or was restored to the end, it is all that was left, and goes.
func endRestoring(dir string, founding foundingRecord) (err error) {
	path := filepath.Join(dir, restoringFile)
	mark, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mark.Close()) }()
	switch {
	case lockFile(mark) != nil:
		return fmt.Errorf("a backup is being restored into data directory %s: start the node when that is done", dir)
	case !founding.Bootstrapped:
		return brokenRestore(dir)
	case !isFile(mark, path):
		return nil // its restore has just ended
	}
	return errors.Join(os.Remove(path), syncDirectory(dir))
}

func brokenRestore(dir string) error {
	return fmt.Errorf("a backup is being restored into data directory %s, or was, and never to the end: restore it again, with the directory emptied, and start the node when that is done", dir)
}

// isFile reports whether a path still leads to the file.
func isFile(f *os.File, path string) bool {
	is, err := f.Stat()
	if err != nil {
		return false
	}
	at, err := os.Stat(path)
	return err == nil && os.SameFile(is, at)
}
