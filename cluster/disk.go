package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
)

// directory is the disk of a node that has a data directory.
type directory struct {
	raft.LogStore
	raft.StableStore
	*raft.FileSnapshotStore
	close func() error
}

// Close implements [io.Closer].
func (d directory) Close() error { return d.close() }

var _ host.Disk = directory{}

// openDisk opens what keeps the node's state, makes sure that it is this node's,
// and claims it if it is new. The founding record of a data directory is a file of
// its own; a disk that the host gave keeps it beside the votes.
func (n *Node) openDisk() (foundingRecord, error) {
	if n.cfg.Host.OpenDisk == nil {
		return openDirectory(n.cfg)
	}
	var err error
	if n.disk, err = n.cfg.Host.OpenDisk(); err != nil {
		return foundingRecord{}, fmt.Errorf("disk: %w", err)
	}
	data, err := n.disk.Get(foundingKey)
	if err != nil && err.Error() != keyNotFound {
		return foundingRecord{}, fmt.Errorf("disk: %w", err)
	}
	if len(data) == 0 {
		r, err := newFounding(n.cfg)
		if err != nil || r.Joined { // such a one is claimed when its cluster is known
			return r, err
		}
		return r, n.writeFounding(r)
	}
	r, err := parseFounding(data, foundingFile)
	if err != nil {
		return r, err
	}
	return r, r.belongsTo(n.cfg)
}

// foundingKey is where a disk without files keeps the founding record.
var foundingKey = []byte(foundingFile)

// keyNotFound is how stores say so; raft compares the text too.
const keyNotFound = "not found"

// openLog opens the log and the snapshots in the data directory.
func (n *Node) openLog(founding foundingRecord) error {
	if n.disk != nil {
		return nil // it is all one
	}
	dir := n.cfg.DataDir
	if err := endRestoring(dir, founding); err != nil {
		return err
	}
	if founding.Bootstrapped {
		if err := checkDisk(dir, founding.store(), n.level()); err != nil {
			return err
		}
	}
	bolt, err := openBolt(dir, false)
	if err != nil {
		return err
	}
	n.disk = directory{close: bolt.Close} // to be closed whatever happens
	if err := sameFounding(dir, founding); err != nil {
		return err
	}
	if err := finishConversion(dir, bolt, founding.store(), n.log); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	log, closeLog, err := openStore(n.cfg, bolt, founding.store(), n.log.Named("disk"))
	if err != nil {
		return err
	}
	n.disk = directory{close: closeLog}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, retainedSnapshots, n.log.Named("raft"))
	if err == nil {
		err = errors.Join(closeToOthers(dir), removeOld(dir, snapshots))
	}
	if err != nil {
		return fmt.Errorf("snapshots in %s: %w", filepath.Join(dir, snapshotDir), err)
	}
	n.disk = directory{log, bolt, snapshots, closeLog}
	if err := forgetOldHistory(n.disk); err != nil {
		return fmt.Errorf("the log in %s: %w", dir, err)
	}
	if n.cfg.Host.WrapDisk != nil {
		n.disk = n.cfg.Host.WrapDisk(n.disk)
	}
	return nil
}

// closeToOthers keeps a data directory and its snapshots, which raft makes readable by
// everybody, to whoever they belong to. A directory that is somebody else's is left as it
// is: they have decided who may read it.
func closeToOthers(dir string) error {
	for _, path := range []string{filepath.Join(dir, snapshotDir), dir} {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			if err := os.Chmod(path, mode&^0o077); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

// removeOld removes snapshots in whose middle the node ended, that is, in whose writing
// or removing: raft passes over them, and keeps them for ever. And it removes for good
// those that raft has removed for as long as the power was on.
func removeOld(dir string, snapshots *raft.FileSnapshotStore) error {
	paths, err := filepath.Glob(filepath.Join(dir, snapshotDir, "*"))
	for _, path := range paths {
		if strings.HasSuffix(path, unfinishedSuffix) || !exists(filepath.Join(path, snapshotMeta)) {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	return errors.Join(err, snapshots.ReapSnapshots(), syncDirectory(filepath.Join(dir, snapshotDir)))
}

// forgetOldHistory removes from the log what was there when a snapshot of another
// node was installed, if the node ended before raft could: some of it may never have
// been committed, and a log without gaps could not go on behind the snapshot.
func forgetOldHistory(disk host.Disk) error {
	metas, err := disk.List()
	if err != nil || len(metas) == 0 {
		return err
	}
	snapshot := metas[0]
	first, err := disk.FirstIndex()
	if err != nil || first == 0 || first > snapshot.Index {
		return err
	}
	last, err := disk.LastIndex()
	if err != nil {
		return err
	}
	var entry raft.Log
	err = disk.GetLog(snapshot.Index, &entry)
	switch {
	case errors.Is(err, raft.ErrLogNotFound): // what may be behind a gap came after the snapshot
		return disk.DeleteRange(first, min(snapshot.Index, last))
	case err != nil || entry.Term == snapshot.Term:
		return err
	}
	return disk.DeleteRange(first, last) // none of it follows the snapshot
}

// claim writes the founding record of a disk that had none when the node was started.
func (n *Node) claim(r foundingRecord) error {
	if n.cfg.Host.OpenDisk == nil {
		return createFounding(n.cfg.DataDir, r)
	}
	return n.writeFounding(r)
}

// writeFounding replaces the founding record.
func (n *Node) writeFounding(r foundingRecord) error {
	if n.cfg.Host.OpenDisk == nil {
		return writeFounding(n.cfg.DataDir, r)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return n.disk.Set(foundingKey, data)
}
