package cluster

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/semanode/sema/internal/disklog"
)

// LogStore names what keeps the log on disk. Term and vote are in raft.db with both.
type LogStore string

// The log stores. What each survives is in docs/disk.md.
const (
	// WAL is a log of segments, to which is only appended: one fsync for an entry.
	WAL LogStore = "wal"
	// BoltDB is a tree in the file that also has term and vote: two fsyncs for an
	// entry.
	BoltDB LogStore = "boltdb"

	DefaultLogStore = WAL // of new data directories
)

// walDir has the segments of the log.
const walDir = "wal"

// store is where the log is.
func (r foundingRecord) store() LogStore {
	if r.Format == foundingFormat {
		return BoltDB
	}
	return r.LogStore
}

func (r foundingRecord) withStore(s LogStore) foundingRecord {
	switch r.LogStore = s; {
	case r.Joined:
		r.Format = joinedFormat
	case s == BoltDB:
		r.Format, r.LogStore = foundingFormat, ""
	default:
		r.Format = storesFormat
	}
	return r
}

// openStore opens the log of a directory. What it needs of bolt stays open; its
// Close closes both.
func openStore(cfg Config, bolt *raftboltdb.BoltStore, store LogStore, log hclog.Logger) (raft.LogStore, func() error, error) {
	if store == BoltDB {
		return bolt, bolt.Close, nil
	}
	dir := filepath.Join(cfg.DataDir, walDir)
	segments, err := disklog.Open(disklog.Options{Dir: dir, Store: bolt, SegmentSize: cfg.LogSegmentSize, Logger: log})
	if err != nil {
		return nil, nil, fmt.Errorf("the log %s cannot be opened: %w", dir, err)
	}
	return segments, func() error { return errors.Join(segments.Close(), bolt.Close()) }, nil
}
