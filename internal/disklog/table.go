package disklog

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// Store keeps the table of segments. What Set has written is on disk when it
// returns without an error, in whole or not at all.
type Store interface {
	Get(key []byte) ([]byte, error)
	Set(key, value []byte) error
}

// TableKey is where a [Store] keeps the table.
var TableKey = []byte("LogSegments")

var (
	// ErrNoTable is what Check and Open match when the store has no table: no log was
	// ever kept in segments here, or the store is not the one it was.
	ErrNoTable = errors.New("there is no table of segments")
	errDamaged = errors.New("the log is damaged")
)

// contents is the table.
type contents struct {
	Format        int
	NextSegmentID uint64
	// Floor is an entry that the log has reached for certain: what ends before it
	// has lost something. 0 if nothing is known.
	Floor    uint64
	Segments []types.SegmentInfo
}

const tableFormat = 1

func readTable(store Store) (contents, error) {
	data, err := store.Get(TableKey)
	if err != nil && err.Error() != keyNotFound {
		return contents{}, err
	}
	if len(data) == 0 {
		return contents{}, ErrNoTable
	}
	if len(data) < 4 || crc32.Checksum(data[4:], castagnoli) != binary.LittleEndian.Uint32(data) {
		return contents{}, fmt.Errorf("%w: the table of segments does not match its checksum", errDamaged)
	}
	var c contents
	if err := json.Unmarshal(data[4:], &c); err != nil {
		return c, fmt.Errorf("%w: the table of segments: %w", errDamaged, err)
	}
	if c.Format != tableFormat {
		return c, fmt.Errorf("the table of segments has format %d, this build knows %d: use the version of semanode that wrote it", c.Format, tableFormat)
	}
	return c, nil
}

// keyNotFound is how stores say so; raft compares the text too.
const keyNotFound = "not found"

func writeTable(store Store, c contents) error {
	c.Format = tableFormat
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return store.Set(TableKey, append(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(body, castagnoli)), body...))
}

// table is what raft-wal calls its metadata. raft-wal calls it by one goroutine at a
// time.
type table struct {
	dir   string
	store Store

	mu   sync.Mutex // guards what follows
	have contents
	err  error // why the log cannot go on
}

var _ types.MetaStore = (*table)(nil)

// Load implements [types.MetaStore].
func (t *table) Load(string) (types.PersistentState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return types.PersistentState{NextSegmentID: t.have.NextSegmentID, Segments: t.have.Segments}, nil
}

// CommitState makes the segment that is new, if there is one, and then the table's
// next version. In this order a segment that is listed is there.
func (t *table) CommitState(s types.PersistentState) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = t.commit(s)
	}
	return t.err
}

func (t *table) commit(s types.PersistentState) error {
	next := contents{NextSegmentID: s.NextSegmentID, Floor: t.have.Floor, Segments: s.Segments}
	for i := range next.Segments {
		next.Segments[i].Codec = codecID // see [filer]
	}
	if n := len(s.Segments); n > 0 && s.Segments[n-1].ID >= t.have.NextSegmentID {
		tail := s.Segments[n-1]
		if err := makeSegment(t.dir, segment.FileName(tail), int64(tail.SizeLimit)); err != nil {
			return err
		}
		next.Floor = 0 // unless the log goes on from before it
		if n > 1 {
			next.Floor = tail.BaseIndex - 1
		}
	}
	if err := writeTable(t.store, next); err != nil {
		return err
	}
	t.have = next
	return nil
}

// raise tells that the log has reached an entry.
func (t *table) raise(floor uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil || floor <= t.have.Floor {
		return nil
	}
	next := t.have
	next.Floor = floor
	t.err = writeTable(t.store, next)
	return t.err
}

// cause is why the log cannot go on, if it cannot.
func (t *table) cause() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// errNotHere is for what raft-wal could keep beside its table; raft's votes are not
// its business.
var errNotHere = errors.New("term and vote are kept elsewhere")

// GetStable implements [types.MetaStore].
func (*table) GetStable([]byte) ([]byte, error) { return nil, errNotHere }

// SetStable implements [types.MetaStore].
func (*table) SetStable(_, _ []byte) error { return errNotHere }

// Close implements [types.MetaStore]. The store is the caller's.
func (*table) Close() error { return nil }
