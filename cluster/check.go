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

const cure = "move the data directory away and bring the node back under a new id, or from a copy of its disk"

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
			"remove the directory and bring the node back under a new id", dir)
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

// checkSnapshotMetas finds snapshots that raft's store would pass over because
// it cannot read what they are.
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
		data, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(data, new(raft.SnapshotMeta))
		}
		if err != nil {
			return fmt.Errorf("snapshot description %s is damaged: %w", path, err)
		}
	}
	return nil
}

// checkLog reads every entry. The log must go on where the snapshot ends,
// without gaps, with terms that never fall, and each command must decode.
func checkLog(log raft.LogStore, snapshot uint64) error {
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
	term := uint64(0)
	for i := first; i <= last && first > 0; i++ {
		var entry raft.Log
		if err := log.GetLog(i, &entry); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if entry.Index != i || entry.Term < term {
			return fmt.Errorf("entry %d says it is entry %d of term %d, after term %d", i, entry.Index, entry.Term, term)
		}
		term = entry.Term
		if entry.Type == raft.LogCommand {
			if _, err := fsm.DecodeBatch(entry.Data); err != nil {
				return fmt.Errorf("entry %d: %w", i, err)
			}
		}
	}
	return nil
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
