package cluster

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotMeters are what became of a node's snapshots.
type snapshotMeters struct {
	taken, failed, restored atomic.Uint64
	bytes, took             atomic.Int64 // of the last one that was taken
}

// Snapshot implements [raft.FSM].
func (m guardedMachine) Snapshot() (raft.FSMSnapshot, error) {
	snapshot, err := m.Machine.Snapshot()
	if err != nil {
		return nil, err
	}
	return watchedSnapshot{snapshot, m.node}, nil
}

// Restore implements [raft.FSM].
func (m guardedMachine) Restore(snapshot io.ReadCloser) error {
	began := time.Now()
	err := m.restore(snapshot)
	if err == nil {
		m.node.meters.snapshots.restored.Add(1)
		m.node.log.Info("snapshot restored", "holds", m.Counts().Holds, "took", time.Since(began).String())
	}
	return err
}

// watchedSnapshot tells how the writing of a snapshot went. That one failed is logged by
// raft, which tries again.
type watchedSnapshot struct {
	raft.FSMSnapshot
	node *Node
}

// countedSnapshots counts the snapshots that cannot be begun.
type countedSnapshots struct {
	raft.SnapshotStore
	meters *meters
}

// Create implements [raft.SnapshotStore].
func (s countedSnapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.SnapshotStore.Create(version, index, term, members, membersIndex, trans)
	if err != nil {
		s.meters.snapshots.failed.Add(1)
	}
	return sink, err
}

// Persist implements [raft.FSMSnapshot].
func (s watchedSnapshot) Persist(to raft.SnapshotSink) error {
	began := time.Now()
	counted := &countedSink{SnapshotSink: to}
	m := &s.node.meters.snapshots
	if err := s.FSMSnapshot.Persist(counted); err != nil {
		m.failed.Add(1)
		return err
	}
	took := time.Since(began)
	m.taken.Add(1)
	m.bytes.Store(counted.bytes)
	m.took.Store(int64(took))
	s.node.log.Info("snapshot taken", "id", to.ID(), "bytes", counted.bytes, "took", took.String())
	return nil
}

type countedSink struct {
	raft.SnapshotSink
	bytes int64
}

// Write implements [io.Writer].
func (s *countedSink) Write(p []byte) (int, error) {
	n, err := s.SnapshotSink.Write(p)
	s.bytes += int64(n)
	return n, err
}
