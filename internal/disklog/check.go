package disklog

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Reading is a log as it was found on disk.
type Reading struct {
	dir     string
	table   contents
	last    uint64 // newest entry; 0 without any
	current *scan  // the segment that was read last
	codec   codec
}

// Check reads the whole log and holds every byte of it to a checksum. It changes
// nothing. What a torn append left is no fault, see [scan.torn]; [Open] will remove it.
// The error of anything else names the file.
func Check(dir string, store Store) (*Reading, error) {
	table, err := readTable(store)
	if err != nil {
		return nil, err
	}
	if len(table.Segments) == 0 {
		return nil, fmt.Errorf("%w: the table of segments has none", errDamaged)
	}
	r := &Reading{dir: dir, table: table}
	for i, info := range table.Segments {
		if i > 0 && info.BaseIndex != table.Segments[i-1].MaxIndex+1 {
			return nil, fmt.Errorf("%w: the table of segments goes from entry %d to entry %d", errDamaged, table.Segments[i-1].MaxIndex, info.BaseIndex)
		}
		s, err := readSegment(dir, info)
		if err != nil {
			return nil, err
		}
		switch isTail := i == len(table.Segments)-1; {
		case isTail != info.SealTime.IsZero():
			return nil, fmt.Errorf("%w: the table of segments does not end with the one that is open", errDamaged)
		case isTail:
			if _, err := s.torn(); err != nil {
				return nil, err
			}
			r.last = s.last()
			if r.last == 0 && i > 0 {
				r.last = info.BaseIndex - 1
			}
		default:
			if err := s.checkSealed(); err != nil {
				return nil, err
			}
		}
		r.current = s
	}
	if r.last < table.Floor {
		return nil, fmt.Errorf("segment %s ends with entry %d, and entry %d was written: what is behind it is lost", r.current.path, r.last, table.Floor)
	}
	return r, nil
}

// FirstIndex is the index of the oldest entry, 0 without any.
func (r *Reading) FirstIndex() (uint64, error) {
	if r.last == 0 {
		return 0, nil
	}
	return r.table.Segments[0].MinIndex, nil
}

// LastIndex is the index of the newest entry, 0 without any.
func (r *Reading) LastIndex() (uint64, error) { return r.last, nil }

// GetLog reads an entry; in ascending order each segment is read once.
func (r *Reading) GetLog(index uint64, entry *raft.Log) (err error) {
	if first, _ := r.FirstIndex(); index < first || index > r.last { // FirstIndex does not fail
		return raft.ErrLogNotFound
	}
	for _, info := range r.table.Segments {
		if index < info.BaseIndex || !info.SealTime.IsZero() && index > info.MaxIndex {
			continue
		}
		if r.current.info.ID != info.ID {
			if r.current, err = readSegment(r.dir, info); err != nil {
				return err
			}
		}
		if index > r.current.last() {
			return errors.New("the log has changed while it was read")
		}
		if err := r.codec.Decode(r.current.entry(index), entry); err != nil {
			return fmt.Errorf("segment %s: %w", r.current.path, err)
		}
		return nil
	}
	return raft.ErrLogNotFound
}
