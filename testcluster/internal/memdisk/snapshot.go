package memdisk

import (
	"cmp"
	"io"
	"io/fs"
	"slices"

	"github.com/hashicorp/raft"
)

// retained is how many snapshots a disk keeps.
const retained = 2

// snapshot does not change once it is in a memory's list.
type snapshot struct {
	meta   raft.SnapshotMeta
	number int // in the order of Create
	data   []byte
}

// copyMeta returns a copy that shares nothing with s.
func (s *snapshot) copyMeta() *raft.SnapshotMeta {
	meta := s.meta
	meta.Configuration = meta.Configuration.Clone()
	return &meta
}

// newest orders snapshots as raft's file store does.
func newest(a, b *snapshot) int {
	return cmp.Or(
		cmp.Compare(b.meta.Term, a.meta.Term),
		cmp.Compare(b.meta.Index, a.meta.Index),
		cmp.Compare(b.number, a.number))
}

// memorySink collects a snapshot that is not on the disk yet.
type memorySink struct {
	memory   *memory
	snapshot *snapshot
}

// ID implements [raft.SnapshotSink].
func (s *memorySink) ID() string { return s.snapshot.meta.ID }

// Write implements [io.Writer].
func (s *memorySink) Write(p []byte) (int, error) {
	s.snapshot.data = append(s.snapshot.data, p...)
	return len(p), nil
}

// Close puts the snapshot on the disk, and the oldest off it.
func (s *memorySink) Close() error {
	s.snapshot.meta.Size = int64(len(s.snapshot.data))
	m := s.memory
	before := m.snapshots
	after := append(slices.Clone(before), s.snapshot)
	slices.SortFunc(after, newest)
	m.snapshots = after[:min(len(after), retained)]
	m.written(change{snapshot: true, undo: func() { m.snapshots = before }})
	return nil
}

// Cancel implements [raft.SnapshotSink].
func (s *memorySink) Cancel() error { return nil }

// Create implements [raft.SnapshotStore]. The deprecated Peers of its record stay nil
// in memory, since transport encodes them in its own way.
func (h *handle) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration,
	membersIndex uint64, transport raft.Transport) (raft.SnapshotSink, error) {
	s := &sink{handle: h}
	err := h.prepare(func() (err error) {
		s.inner, err = h.inner.Create(version, index, term, members, membersIndex, transport)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// List implements [raft.SnapshotStore].
func (h *handle) List() (list []*raft.SnapshotMeta, err error) {
	err = h.read(func() error {
		list, err = h.inner.List()
		return err
	})
	return list, err
}

// Open implements [raft.SnapshotStore]. What it returns reads on when the snapshot is
// no longer retained, but not when the handle has ended.
func (h *handle) Open(id string) (meta *raft.SnapshotMeta, _ io.ReadCloser, err error) {
	var inner io.ReadCloser
	err = h.read(func() error {
		meta, inner, err = h.inner.Open(id)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return meta, &reader{h, inner}, nil
}

// sink is a snapshot that is being written through a handle.
type sink struct {
	handle *handle
	inner  raft.SnapshotSink
	closed bool
	err    error // of Close
}

// ID implements [raft.SnapshotSink].
func (s *sink) ID() string { return s.inner.ID() }

// Write implements [io.Writer].
func (s *sink) Write(p []byte) (n int, err error) {
	err = s.handle.prepare(func() error {
		if s.closed {
			return fs.ErrClosed
		}
		n, err = s.inner.Write(p)
		return err
	})
	return n, err
}

// Close makes the snapshot appear. If it fails, the snapshot is discarded. Once closed
// or cancelled, it returns what it returned then.
func (s *sink) Close() error {
	if s.closed {
		return s.err
	}
	s.closed = true
	tried := false
	s.err = s.handle.write(nil, func() error {
		tried = true
		return s.inner.Close()
	})
	if s.err != nil && !tried {
		_ = s.handle.read(s.inner.Cancel) // has no effect if the handle has ended: nobody tidies up then
	}
	return s.err
}

// Cancel discards the snapshot.
func (s *sink) Cancel() error {
	if s.closed {
		return nil
	}
	s.closed = true
	return s.handle.read(s.inner.Cancel)
}

// reader is a snapshot that is being read through a handle.
type reader struct {
	handle *handle
	inner  io.ReadCloser
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (n int, err error) {
	err = r.handle.read(func() error {
		n, err = r.inner.Read(p)
		return err
	})
	return n, err
}

// Close implements [io.Closer]. It passes neither gate nor stall.
func (r *reader) Close() error {
	err := r.inner.Close()
	d := r.handle.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.handle.ended != nil {
		return r.handle.ended
	}
	return err
}
