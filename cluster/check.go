package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/boltfile"
	"github.com/semanode/sema/internal/disklog"
)

const (
	snapshotDir      = "snapshots"
	snapshotMeta     = "meta.json" // its description
	unfinishedSuffix = ".tmp"      // of a snapshot's directory
)

// cure is what helps a node whose disk is damaged. Its votes are part of the
// damage, so an empty directory under the same id would not be safe.
const cure = "remove this node (semanode remove) and start it with an empty directory and --join, or put back this very directory as it was when the node last ran, never an older copy; the other nodes go on as long as they are a majority"

// spoiled is the error about a part of the disk that cannot be used. A node whose disk is
// whole, but of a newer version, is not to be removed for that.
func spoiled(what string, err error) error {
	if errors.Is(err, fsm.ErrTooNew) {
		return fmt.Errorf("%s: %w; the disk is whole: start this node with the version of semanode that it ran before, or a newer one", what, err)
	}
	return fmt.Errorf("%s is damaged: %w; %s", what, err, cure)
}

// checkDisk reads what raft is about to trust, before raft reads it: raft falls
// back to an older snapshot in silence when one is damaged, and meets a damaged
// log by panicking much later. It opens everything for reading only and changes
// nothing. It costs one reading of the newest snapshot and of the log. level is up to
// which the node knows log entries.
func checkDisk(dir string, store LogStore, level int) error {
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, retainedSnapshots, hclog.NewNullLogger()) // the error tells
	if err != nil {
		return fmt.Errorf("snapshots in %s: %w", filepath.Join(dir, snapshotDir), err)
	}
	last, err := checkSnapshots(dir, snapshots, level)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, logFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("data directory %s has lost its log, and with it what this node voted; "+
			"%s", dir, cure)
	}
	bolt, err := openBolt(dir, true)
	if err != nil {
		return err
	}
	where := filepath.Join(dir, logFile)
	if store == WAL {
		where = filepath.Join(dir, walDir)
	}
	err = boltfile.Check(filepath.Join(dir, logFile)) // before it is read: it is locked now
	if err != nil {
		where = filepath.Join(dir, logFile)
	} else {
		err = catchFault(func() error { return checkStore(dir, bolt, store, last, level) })
	}
	if err = errors.Join(err, bolt.Close()); err != nil {
		return spoiled("the log "+where, err)
	}
	return nil
}

// checkStore reads the log where it is, and in bolt what is not the log, too: what
// bbolt will walk through when it opens for writing.
func checkStore(dir string, bolt *raftboltdb.BoltStore, store LogStore, snapshot uint64, level int) error {
	if store == BoltDB {
		if err := checkNotElsewhere(dir, bolt); err != nil {
			return err
		}
		return checkLog(bolt, bolt, snapshot, level)
	}
	if err := readThrough(bolt); err != nil {
		return err
	}
	log, err := disklog.Check(filepath.Join(dir, walDir), bolt)
	if err != nil {
		return err
	}
	return checkLog(log, bolt, snapshot, level)
}

// checkNotElsewhere refuses an empty log beside one that is not: node.json is not
// what was written last, such as one from a copy.
func checkNotElsewhere(dir string, bolt *raftboltdb.BoltStore) error {
	last, err := bolt.LastIndex()
	if err != nil || last > 0 {
		return err
	}
	other, err := disklog.Check(filepath.Join(dir, walDir), bolt)
	if errors.Is(err, disklog.ErrNoTable) {
		return nil
	}
	if err == nil {
		last, err = other.LastIndex()
	}
	if err != nil || last > 0 {
		return errors.Join(fmt.Errorf("it is empty, and %s has a log: %s is not the one that was here", walDir, foundingFile), err)
	}
	return nil
}

// readThrough reads what a conversion left behind in bolt.
func readThrough(bolt *raftboltdb.BoltStore) error {
	first, err := bolt.FirstIndex()
	if err != nil {
		return err
	}
	last, err := bolt.LastIndex()
	for i := max(first, 1); i <= last && err == nil; i++ {
		var entry raft.Log
		if err = bolt.GetLog(i, &entry); errors.Is(err, raft.ErrLogNotFound) {
			err = nil
		}
	}
	return err
}

// checkSnapshots returns the index of the newest snapshot, 0 without one.
func checkSnapshots(dir string, snapshots raft.SnapshotStore, level int) (uint64, error) {
	if err := checkSnapshotMetas(dir); err != nil {
		return 0, err
	}
	metas, err := snapshots.List()
	if err != nil {
		return 0, fmt.Errorf("%w; %s", err, cure)
	}
	if len(metas) == 0 {
		return 0, nil
	}
	newest := metas[0]
	damaged := func(err error) error { return spoiled("snapshot "+filepath.Join(dir, snapshotDir, newest.ID), err) }
	_, content, err := snapshots.Open(newest.ID)
	if err != nil {
		return 0, damaged(err)
	}
	if err := errors.Join(fsm.CheckSnapshotAt(content, level), content.Close()); err != nil {
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
	complete := 0
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		return slices.Compare(snapshotNumbers(b.Name()), snapshotNumbers(a.Name()))
	})
	for _, e := range entries { // the newest first
		if !e.IsDir() || strings.HasSuffix(e.Name(), unfinishedSuffix) {
			continue
		}
		path := filepath.Join(dir, snapshotDir, e.Name(), snapshotMeta)
		err := checkSnapshotMeta(path, e.Name())
		if errors.Is(err, fs.ErrNotExist) && complete >= retainedSnapshots {
			continue // raft was removing it when the node ended
		}
		if err != nil {
			return spoiled("snapshot description "+path, err)
		}
		complete++
	}
	return nil
}

// snapshotNumbers are what the name of a snapshot's directory consists of: term, index
// and time.
func snapshotNumbers(name string) []uint64 {
	numbers := make([]uint64, 3)
	_, _ = fmt.Sscanf(name, "%d-%d-%d", &numbers[0], &numbers[1], &numbers[2]) // the description is held to the name
	return numbers
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
	FirstIndex() (uint64, error)
	LastIndex() (uint64, error)
	GetLog(index uint64, entry *raft.Log) error
}

// checkLog reads every entry. From where the snapshot ends the log must go on
// without gaps, with terms that do not fall and none that the node has not heard
// of. What is older may have gaps: raft leaves it there when a follower is brought
// up to date by a snapshot, if the node ends before it is removed.
func checkLog(log diskLog, votes raft.StableStore, snapshot uint64, level int) error {
	first, err := log.FirstIndex()
	if err != nil {
		return err
	}
	last, err := log.LastIndex()
	if err != nil {
		return err
	}
	if last < first {
		return fmt.Errorf("it begins with entry %d and ends with entry %d", first, last)
	}
	if first > snapshot+1 {
		return fmt.Errorf("it begins with entry %d, but the newest snapshot ends with %d", first, snapshot)
	}
	current, err := votes.GetUint64(termKey)
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
		if err := checkEntry(&entry, level); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	return nil
}

// checkEntry decodes what raft and the state machine will decode, and refuses
// types that this version does not write.
func checkEntry(entry *raft.Log, level int) error {
	switch entry.Type {
	case raft.LogCommand:
		return fsm.CheckEntry(entry.Data, level)
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
