package cluster

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/semanode/sema/internal/host"
)

// directory is the disk of a node that has a data directory.
type directory struct {
	*raftboltdb.BoltStore
	*raft.FileSnapshotStore
}

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
		if err != nil {
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
	if founding.Bootstrapped {
		if err := checkDisk(dir); err != nil {
			return err
		}
	}
	bolt, err := openBolt(dir, false)
	if err != nil {
		return err
	}
	n.disk = directory{BoltStore: bolt} // to be closed whatever happens
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, retainedSnapshots, n.log.Named("raft"))
	if err != nil {
		return fmt.Errorf("snapshots in %s: %w", filepath.Join(dir, snapshotDir), err)
	}
	n.disk = directory{bolt, snapshots}
	if n.cfg.Host.WrapDisk != nil {
		n.disk = n.cfg.Host.WrapDisk(n.disk)
	}
	return nil
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
