package memdisk

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// change is a write that was not synced: what it wrote, and how to undo it once all
// later ones are undone.
type change struct {
	entries  []raft.Log // that a StoreLogs wrote
	key      *string    // that a Set wrote
	snapshot bool       // a sink was closed

	undo func()
	due  time.Time // when it becomes durable by itself, unless zero
	told bool      // the hook of OnStore knows
}

// written records a change.
func (m *memory) written(c change) { m.unsynced = append(m.unsynced, c) }

// sync makes everything that was written so far durable.
func (m *memory) sync() { m.durable(len(m.unsynced)) }

// durable forgets how to undo the n oldest changes.
func (m *memory) durable(n int) { m.unsynced = slices.Delete(m.unsynced, 0, n) }

// leave lets everything that was written so far become durable at due.
func (m *memory) leave(due time.Time) {
	for i := range m.unsynced {
		if c := &m.unsynced[i]; c.due.IsZero() {
			c.due = due
		}
	}
}

// expire makes durable what is due, in the order it was written in.
func (m *memory) expire() {
	if len(m.unsynced) == 0 {
		return
	}
	now, n := time.Now(), 0
	for n < len(m.unsynced) && !m.unsynced[n].due.IsZero() && !now.Before(m.unsynced[n].due) {
		n++
	}
	m.durable(n)
}

// rollBack undoes everything that was not synced.
func (m *memory) rollBack() Lost {
	var lost Lost
	indexes, keys := make(map[uint64]struct{}), make(map[string]struct{})
	for _, c := range slices.Backward(m.unsynced) {
		c.undo()
		for _, entry := range c.entries {
			indexes[entry.Index] = struct{}{}
		}
		if c.key != nil {
			keys[*c.key] = struct{}{}
		}
		if c.snapshot {
			lost.Snapshots++
		}
	}
	m.sync()
	lost.Entries, lost.Keys = len(indexes), len(keys)
	return lost
}
