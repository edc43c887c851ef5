package memdisk

import "github.com/hashicorp/raft"

// FirstIndex implements [raft.LogStore].
func (h *handle) FirstIndex() (index uint64, err error) {
	err = h.read(func() error {
		index, err = h.inner.FirstIndex()
		return err
	})
	return index, err
}

// LastIndex implements [raft.LogStore].
func (h *handle) LastIndex() (index uint64, err error) {
	err = h.read(func() error {
		index, err = h.inner.LastIndex()
		return err
	})
	return index, err
}

// GetLog implements [raft.LogStore].
func (h *handle) GetLog(index uint64, entry *raft.Log) error {
	return h.read(func() error { return h.inner.GetLog(index, entry) })
}

// StoreLog implements [raft.LogStore].
func (h *handle) StoreLog(entry *raft.Log) error { return h.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements [raft.LogStore].
func (h *handle) StoreLogs(entries []*raft.Log) error {
	return h.write(entries, func() error { return h.inner.StoreLogs(entries) })
}

// DeleteRange implements [raft.LogStore].
func (h *handle) DeleteRange(from, to uint64) error {
	return h.write(nil, func() error { return h.inner.DeleteRange(from, to) })
}

// IsMonotonic implements [raft.MonotonicLogStore]: what is behind the handle decides.
func (h *handle) IsMonotonic() bool {
	inner, ok := h.inner.(raft.MonotonicLogStore)
	return ok && inner.IsMonotonic()
}

// Set implements [raft.StableStore].
func (h *handle) Set(key, value []byte) error {
	return h.write(nil, func() error { return h.inner.Set(key, value) })
}

// Get implements [raft.StableStore].
func (h *handle) Get(key []byte) (value []byte, err error) {
	err = h.read(func() error {
		value, err = h.inner.Get(key)
		return err
	})
	return value, err
}

// SetUint64 implements [raft.StableStore].
func (h *handle) SetUint64(key []byte, value uint64) error {
	return h.write(nil, func() error { return h.inner.SetUint64(key, value) })
}

// GetUint64 implements [raft.StableStore].
func (h *handle) GetUint64(key []byte) (value uint64, err error) {
	err = h.read(func() error {
		value, err = h.inner.GetUint64(key)
		return err
	})
	return value, err
}
