package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
)

const snapshotDir = "snapshots"

// cure is what helps a node whose disk is damaged. Its votes are part of the
// damage, so an empty directory under the same id would not be safe.
const cure = "restore the directory from a copy of this node's disk; the other nodes go on as long as they are a majority"

// checkDisk reads what raft is about to trust, before raft reads it: raft falls
// back to an older snapshot in silence when one is damaged, and meets a damaged
// log by panicking much later. It opens everything for reading only and changes
// nothing. It costs one reading of the newest snapshot and of the log.
func checkDisk(dir string) error {
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, retainedSnapshots, hclog.NewNullLogger()) // the error tells
	if err != nil {
		return fmt.Errorf("snapshots in %s: %w", filepath.Join(dir, snapshotDir), err)
	}
	last, err := checkSnapshots(dir, snapshots)
	if err != nil {
		return fmt.Errorf("%w; %s", err, cure)
	}
	if _, err := os.Stat(filepath.Join(dir, logFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data directory %s has lost its log, and with it what this node voted; "+
			"%s", dir, cure)
	}
	log, err := openBolt(dir, true)
	if err != nil {
		return err
	}
	err = catchFault(func() error { return checkLog(log, last) })
	if err = errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("the log %s is damaged: %w; %s", filepath.Join(dir, logFile), err, cure)
	}
	return nil
}

// checkSnapshots returns the index of the newest snapshot, 0 without one.
func checkSnapshots(dir string, snapshots raft.SnapshotStore) (uint64, error) {
	if err := checkSnapshotMetas(dir); err != nil {
		return 0, err
	}
	metas, err := snapshots.List()
	if err != nil || len(metas) == 0 {
		return 0, err
	}
	newest := metas[0]
	damaged := func(err error) error {
		return fmt.Errorf("snapshot %s is damaged: %w", filepath.Join(dir, snapshotDir, newest.ID), err)
	}
	_, content, err := snapshots.Open(newest.ID)
	if err != nil {
		return 0, damaged(err)
	}
	if err := errors.Join(fsm.CheckSnapshot(content), content.Close()); err != nil {
		return 0, damaged(err)
	}
	return newest.Index, nil
}

// checkSnapshotMetas holds what each snapshot says it is to the name of its
// directory: the description has no checksum, raft's store passes over one that
// it cannot read, and raft believes the index of one that it can.
func checkSnapshotMetas(dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, snapshotDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), ".tmp") { // a snapshot that was never finished
			continue
		}
		path := filepath.Join(dir, snapshotDir, e.Name(), "meta.json")
		if err := checkSnapshotMeta(path, e.Name()); err != nil {
			return fmt.Errorf("snapshot description %s is damaged: %w", path, err)
		}
	}
	return nil
}

func checkSnapshotMeta(path, name string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var meta raft.SnapshotMeta
	if err := json.Unmarshal(data, &meta); err != nil {
		return err
	}
	if meta.Version != raft.SnapshotVersionMax || meta.ID != name || !strings.HasPrefix(name, fmt.Sprintf("%d-%d-", meta.Term, meta.Index)) {
		return fmt.Errorf("it says version %d, term %d, index %d, id %q", meta.Version, meta.Term, meta.Index, meta.ID)
	}
	return nil
}

// termKey is where raft keeps the current term.
var termKey = []byte("CurrentTerm")

// diskLog is the part of a log store that is checked.
type diskLog interface {
	raft.LogStore
	GetUint64(key []byte) (uint64, error)
}

// checkLog reads every entry. From where the snapshot ends the log must go on
// without gaps, with terms that do not fall and none that the node has not heard
// of. What is older may have gaps: raft leaves it there when a follower is brought
// up to date by a snapshot, if the node ends before it is removed.
func checkLog(log diskLog, snapshot uint64) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	if first > snapshot+1 {
		return fmt.Errorf("it begins with entry %d, but the newest snapshot ends with %d", first, snapshot)
	}
	current, err := log.GetUint64(termKey)
	if err != nil {
		return fmt.Errorf("current term: %w", err)
	}
	term := uint64(0)
	for i := max(first, 1); i <= last; i++ {
		var entry raft.Log
		err := log.GetLog(i, &entry)
		if errors.Is(err, raft.ErrLogNotFound) && i <= snapshot {
			term = 0 // what comes after a gap is another history
			continue
		}
		if err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if entry.Index != i || entry.Term < term || entry.Term > current {
			return fmt.Errorf("entry %d says it is entry %d of term %d, after term %d, and the node is in term %d", i, entry.Index, entry.Term, term, current)
		}
		term = entry.Term
		if err := checkEntry(&entry); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// checkEntry decodes what raft and the state machine will decode, and refuses
// types that this version does not write.
func checkEntry(entry *raft.Log) error {
	switch entry.Type {
	case raft.LogCommand:
		_, err := fsm.DecodeBatch(entry.Data)
		return err
	case raft.LogConfiguration:
		return catchFault(func() error { // raft panics on what it cannot decode
			raft.DecodeConfiguration(entry.Data)
			return nil
		})
	case raft.LogNoop, raft.LogBarrier:
		if len(entry.Data) != 0 {
			return fmt.Errorf("%d bytes of data in an entry of type %v", len(entry.Data), entry.Type)
		}
		return nil
	}
	return fmt.Errorf("type %v", entry.Type)
}

// catchFault turns what a damaged bbolt file does to its reader into an error:
// bbolt panics on a page that cannot be, and the file is mapped into memory, so
// that a page number beyond its end is a memory fault.
func catchFault(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it cannot be read: %v", r)
		}
	}()
	return read()
}
