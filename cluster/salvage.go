package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/disklog"
)

// SaveDirectory takes a backup from the data directory of a node that is stopped, and
// writes it as [backup.Read] reads it: the way back when so many nodes are lost that
// the others are no majority any more. It changes nothing in the directory. All of the
// node's log is in it, also entries that were never acknowledged; what had not reached
// this node is not. Of several survivors take the one whose last entry has the highest
// term and, if those are equal, the highest index: it has all that the others have.
//
// progress, if it is not nil, is called now and then with how many entries of the log
// were applied, and of how many.
func SaveDirectory(ctx context.Context, dir string, to io.Writer, progress func(done, all uint64)) (err error) {
	s := survivor{dir: dir, machine: fsm.New(), progress: progress}
	closeLog, err := s.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	if err := s.replay(ctx); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	state, err := s.machine.Backup()
	if err != nil {
		return err
	}
	defer state.Release()
	h := backup.Header{ClusterName: s.founding.ClusterName, NodeID: s.founding.NodeID, Source: backup.Directory,
		Members: backupMembers(s.members), Taken: time.Now(), Facts: state.Facts()}
	h.Facts.Index, h.Facts.Term = s.index, s.term
	known := false
	if h.ClusterID, known = s.founding.cluster(); !known {
		return fmt.Errorf("data directory %s was never used: its cluster was not founded", s.dir)
	}
	return backup.Write(to, h, state.WriteSnapshot)
}

// survivor is a data directory that is read without its node.
type survivor struct {
	dir      string
	founding foundingRecord
	log      diskLog
	machine  *fsm.Machine
	progress func(done, all uint64)

	index, term uint64 // of the last entry
	members     raft.Configuration
}

// open checks the directory, and locks it against nodes.
func (s *survivor) open() (closeLog func() error, err error) {
	if s.founding, err = readFounding(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not a node's data directory: it has no %s", s.dir, foundingFile)
	}
	if err != nil {
		return nil, err
	}
	if !s.founding.Bootstrapped {
		return nil, fmt.Errorf("data directory %s was never used: there is nothing in it", s.dir)
	}
	if err := checkDisk(s.dir, s.founding.store(), fsm.Level); err != nil {
		return nil, err
	}
	bolt, err := openBolt(s.dir, true)
	if err != nil {
		return nil, err
	}
	err = sameFounding(s.dir, s.founding)
	if s.log = bolt; err == nil && s.founding.store() == WAL {
		s.log, err = disklog.Check(filepath.Join(s.dir, walDir), bolt)
	}
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return bolt.Close, nil
}

// replay makes the state: the newest snapshot, and all entries after it.
func (s *survivor) replay(ctx context.Context) error {
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(s.dir, retainedSnapshots, hclog.NewNullLogger()) // errors tell
	if err != nil {
		return err
	}
	metas, err := snapshots.List()
	if err != nil {
		return err
	}
	if len(metas) > 0 {
		meta, content, err := snapshots.Open(metas[0].ID)
		if err != nil {
			return err
		}
		if err := s.machine.Restore(content); err != nil {
			return err
		}
		s.index, s.term, s.members = meta.Index, meta.Term, meta.Configuration
	}
	last, err := s.log.LastIndex()
	if err != nil {
		return err
	}
	if follows, err := s.follows(); err != nil || !follows {
		return err
	}
	begin := s.index
	for s.index < last {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.apply(s.index + 1); err != nil {
			return err
		}
		if done := s.index - begin; s.progress != nil && done%convertBatch == 0 {
			s.progress(done, last-begin)
		}
	}
	return nil
}

// follows reports whether the log goes on where the snapshot ends. If not, the node
// ended after another's snapshot was installed and before the old log was removed; see
// forgetOldHistory.
func (s *survivor) follows() (bool, error) {
	var entry raft.Log
	first, err := s.log.FirstIndex()
	if err != nil || first == 0 || s.index == 0 || first > s.index {
		return true, err
	}
	err = s.log.GetLog(s.index, &entry)
	if errors.Is(err, raft.ErrLogNotFound) {
		return true, nil // what is behind the gap came after the snapshot
	}
	return entry.Term == s.term, err
}

func (s *survivor) apply(index uint64) error {
	var entry raft.Log
	if err := s.log.GetLog(index, &entry); err != nil {
		return fmt.Errorf("log entry %d: %w", index, err)
	}
	switch entry.Type {
	case raft.LogCommand:
		if err, failed := s.machine.Apply(&entry).(error); failed {
			return err
		}
	case raft.LogConfiguration:
		if err := catchFault(func() error { // raft panics on what it cannot decode
			s.members = raft.DecodeConfiguration(entry.Data)
			return nil
		}); err != nil {
			return fmt.Errorf("log entry %d: %w", index, err)
		}
	}
	s.index, s.term = entry.Index, entry.Term
	return nil
}
