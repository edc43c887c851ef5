package disklog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// DefaultSegmentSize is how many bytes fill a segment. A node has one segment on its
// disk from its first start, and after a snapshot at most one more than its log needs.
const DefaultSegmentSize = 16 << 20

// Options says where a log is.
type Options struct {
	Dir         string       // for the segments alone; made if it is missing
	Store       Store        // has the table of segments, and made it if it had none
	SegmentSize uint32       // of new segments; DefaultSegmentSize if zero
	Logger      hclog.Logger // nil: nothing is logged
}

// Log is raft's log in segments. It implements [raft.LogStore] and
// [raft.MonotonicLogStore].
type Log struct {
	table *table
	// mu is held for writing while entries are removed or the log is closed: raft-wal
	// then closes files that its readers may be about to read.
	mu     sync.RWMutex
	wal    *wal.WAL
	closed bool
}

var (
	_ raft.LogStore          = (*Log)(nil)
	_ raft.MonotonicLogStore = (*Log)(nil)
)

// Open opens a log for writing, and makes it if the store has no table. The store
// must be locked against other processes: it locks the segments too. What was
// interrupted is finished or removed; what is damaged is refused.
func Open(o Options) (*Log, error) {
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if err := makeDir(o.Dir); err != nil {
		return nil, err
	}
	have, err := readTable(o.Store)
	if err != nil && !errors.Is(err, ErrNoTable) {
		return nil, err
	}
	t := &table{dir: o.Dir, store: o.Store, have: have}
	if err := errors.Join(t.repair(o.SegmentSize, o.Logger), t.removeStrangers()); err != nil {
		return nil, err
	}
	w, err := wal.Open(o.Dir,
		wal.WithMetaStore(t),
		wal.WithSegmentFiler(filer{segment.NewFiler(o.Dir, files{})}),
		wal.WithCodec(new(codec)),
		wal.WithSegmentSize(int(o.SegmentSize)),
		wal.WithLogger(o.Logger))
	if err != nil {
		return nil, err
	}
	l := &Log{table: t, wal: w}
	last, err := l.LastIndex()
	if err == nil && last < t.have.Floor {
		err = fmt.Errorf("%w: it ends with entry %d, and entry %d was written", errDamaged, last, t.have.Floor)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// filer gives segments our codec's id, which raft-wal forgets to do.
type filer struct{ *segment.Filer }

func (f filer) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	info.Codec = codecID
	return f.Filer.Create(info)
}

// IsMonotonic implements [raft.MonotonicLogStore].
func (l *Log) IsMonotonic() bool { return true }

// FirstIndex implements [raft.LogStore].
func (l *Log) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return 0, wal.ErrClosed
	}
	return l.wal.FirstIndex()
}

// LastIndex implements [raft.LogStore].
func (l *Log) LastIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return 0, wal.ErrClosed
	}
	return l.wal.LastIndex()
}

// GetLog implements [raft.LogStore]. An entry that does not match its checksum is an
// error.
func (l *Log) GetLog(index uint64, entry *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return wal.ErrClosed
	}
	first, err := l.wal.FirstIndex()
	if err != nil {
		return err
	}
	if index < first { // raft-wal still finds it, while it is in the open segment
		return raft.ErrLogNotFound
	}
	err = l.wal.GetLog(index, entry)
	if err == nil && entry.Index != index {
		return fmt.Errorf("%w: where entry %d should be is entry %d", errDamaged, index, entry.Index)
	}
	return err
}

// StoreLog implements [raft.LogStore].
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements [raft.LogStore]. The entries must follow each other and the
// newest one, unless the log is empty.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return wal.ErrClosed
	}
	return l.because(l.wal.StoreLogs(entries))
}

// DeleteRange implements [raft.LogStore]: from the beginning or to the end of the log.
func (l *Log) DeleteRange(from, to uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return wal.ErrClosed
	}
	return l.because(l.wal.DeleteRange(from, to))
}

// because returns err, or why it came to that: raft-wal does not tell that it could
// not make the next segment, only that the last one is full.
func (l *Log) because(err error) error {
	if err == nil {
		return nil
	}
	if cause := l.table.cause(); cause != nil {
		return cause
	}
	return err
}

// Close closes the log, but not its store, in which it writes down how far the log
// goes. It is idempotent.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	last, err := l.wal.LastIndex()
	if err == nil {
		err = l.table.raise(last)
	}
	return errors.Join(err, l.wal.Close())
}
