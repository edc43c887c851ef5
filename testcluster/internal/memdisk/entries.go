package memdisk

import (
	"bytes"
	"slices"

	"github.com/hashicorp/raft"
)

// entries is a log, ordered by index. raft may leave gaps in it, as wide as it likes.
// To append, to find, and to remove at either end cost O(1), amortised; with gaps
// finding costs O(log n), and the middle costs O(n).
type entries struct{ list []raft.Log }

// first returns the lowest index, 0 if there is none.
func (l *entries) first() uint64 {
	if len(l.list) == 0 {
		return 0
	}
	return l.list[0].Index
}

// last returns the highest index, 0 if there is none.
func (l *entries) last() uint64 {
	if len(l.list) == 0 {
		return 0
	}
	return l.list[len(l.list)-1].Index
}

// find returns where the entry with that index is, or would be inserted.
func (l *entries) find(index uint64) (pos int, found bool) {
	if index > l.last() {
		return len(l.list), false
	}
	if first := l.first(); index >= first {
		offset := index - first
		if offset < uint64(len(l.list)) && l.list[offset].Index == index {
			return int(offset), true
		}
	}
	return slices.BinarySearchFunc(l.list, index, func(entry raft.Log, index uint64) int {
		switch {
		case entry.Index < index:
			return -1
		case entry.Index > index:
			return 1
		}
		return 0
	})
}

// put stores an entry, in place of the one with its index, if any.
func (l *entries) put(entry raft.Log) {
	pos, found := l.find(entry.Index)
	switch {
	case found:
		l.list[pos] = entry
	case pos == len(l.list):
		l.list = append(l.list, entry)
	default:
		l.list = slices.Insert(l.list, pos, entry)
	}
}

// remove takes out the entries from from to to, both inclusive, and returns them.
func (l *entries) remove(from, to uint64) []raft.Log {
	low, _ := l.find(from)
	high, found := l.find(to)
	if found {
		high++
	}
	if low >= high {
		return nil
	}
	removed := slices.Clone(l.list[low:high])
	if low == 0 {
		clear(l.list[:high]) // what is before the slice stays reachable until it grows
		l.list = l.list[high:]
	} else {
		l.list = slices.Delete(l.list, low, high)
	}
	return removed
}

// insert puts back what remove returned.
func (l *entries) insert(removed []raft.Log) {
	if len(removed) > 0 {
		pos, _ := l.find(removed[0].Index)
		l.list = slices.Insert(l.list, pos, removed...)
	}
}

// copyLog returns a copy that shares nothing with entry. As from a disk, its time has
// no monotonic reading.
func copyLog(entry *raft.Log) raft.Log {
	c := *entry
	c.Data = bytes.Clone(c.Data)
	c.Extensions = bytes.Clone(c.Extensions)
	c.AppendedAt = c.AppendedAt.Round(0)
	return c
}

// copyLogs is copyLog for many.
func copyLogs(list []*raft.Log) []raft.Log {
	copies := make([]raft.Log, len(list))
	for i, entry := range list {
		copies[i] = copyLog(entry)
	}
	return copies
}
