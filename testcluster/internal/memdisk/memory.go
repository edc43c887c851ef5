package memdisk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
)

// errNotFound has the text that raft compares with.
var errNotFound = errors.New("not found")

// memory is a disk as its readers see it, unsynced writes included, and how to undo
// those. The mu of its Disk guards it.
type memory struct {
	log       entries
	keys      map[string][]byte
	snapshots []*snapshot // newest first; a change replaces the slice
	created   int         // snapshots ever begun
	unsynced  []change    // oldest first
}

var _ host.Disk = (*memory)(nil)

// FirstIndex implements [raft.LogStore].
func (m *memory) FirstIndex() (uint64, error) { return m.log.first(), nil }

// LastIndex implements [raft.LogStore].
func (m *memory) LastIndex() (uint64, error) { return m.log.last(), nil }

// GetLog implements [raft.LogStore].
func (m *memory) GetLog(index uint64, entry *raft.Log) error {
	pos, found := m.log.find(index)
	if !found {
		return raft.ErrLogNotFound
	}
	*entry = copyLog(&m.log.list[pos])
	return nil
}

// StoreLog implements [raft.LogStore].
func (m *memory) StoreLog(entry *raft.Log) error { return m.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements [raft.LogStore].
func (m *memory) StoreLogs(list []*raft.Log) error {
	stored := copyLogs(list)
	var replaced []raft.Log
	for _, entry := range stored {
		if pos, found := m.log.find(entry.Index); found {
			replaced = append(replaced, m.log.list[pos])
		}
	}
	for _, entry := range stored {
		m.log.put(entry)
	}
	m.written(change{entries: stored, undo: func() {
		for _, entry := range slices.Backward(stored) {
			m.log.remove(entry.Index, entry.Index)
		}
		for _, old := range replaced {
			m.log.put(old)
		}
	}})
	return nil
}

// DeleteRange implements [raft.LogStore].
func (m *memory) DeleteRange(from, to uint64) error {
	removed := m.log.remove(from, to)
	m.written(change{undo: func() { m.log.insert(removed) }})
	return nil
}

// Set implements [raft.StableStore].
func (m *memory) Set(key, value []byte) error {
	name := string(key)
	old, had := m.keys[name]
	if m.keys == nil {
		m.keys = make(map[string][]byte)
	}
	m.keys[name] = bytes.Clone(value)
	m.written(change{key: &name, undo: func() {
		if had {
			m.keys[name] = old
		} else {
			delete(m.keys, name)
		}
	}})
	return nil
}

// Get implements [raft.StableStore].
func (m *memory) Get(key []byte) ([]byte, error) {
	value, ok := m.keys[string(key)]
	if !ok {
		return nil, errNotFound
	}
	return bytes.Clone(value), nil
}

// SetUint64 implements [raft.StableStore].
func (m *memory) SetUint64(key []byte, value uint64) error {
	return m.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements [raft.StableStore].
func (m *memory) GetUint64(key []byte) (uint64, error) {
	value, ok := m.keys[string(key)]
	switch {
	case !ok:
		return 0, errNotFound
	case len(value) != 8:
		return 0, fmt.Errorf("key %q holds %d bytes, not a number", key, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// Create implements [raft.SnapshotStore].
func (m *memory) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration,
	membersIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != 1 {
		return nil, fmt.Errorf("unsupported snapshot version %d", version)
	}
	m.created++
	return &memorySink{memory: m, snapshot: &snapshot{number: m.created, meta: raft.SnapshotMeta{
		Version:            version,
		ID:                 fmt.Sprintf("%d-%d-%d", term, index, m.created),
		Index:              index,
		Term:               term,
		Configuration:      members.Clone(),
		ConfigurationIndex: membersIndex,
	}}}, nil
}

// List implements [raft.SnapshotStore].
func (m *memory) List() ([]*raft.SnapshotMeta, error) {
	list := make([]*raft.SnapshotMeta, len(m.snapshots))
	for i, s := range m.snapshots {
		list[i] = s.copyMeta()
	}
	return list, nil
}

// Open implements [raft.SnapshotStore].
func (m *memory) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	for _, s := range m.snapshots {
		if s.meta.ID == id {
			return s.copyMeta(), io.NopCloser(bytes.NewReader(s.data)), nil
		}
	}
	return nil, nil, &fs.PathError{Op: "open", Path: "snapshot " + id, Err: fs.ErrNotExist}
}

// Close implements [io.Closer].
func (m *memory) Close() error { return nil }
