package cluster

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/semanode/sema/internal/host"
	"github.com/semanode/sema/internal/sabotage"
	"github.com/semanode/sema/internal/tally"
)

const logFile = "raft.db"

// logCacheSize is how many recent entries are kept in memory, so that followers
// which keep up are fed without reading the disk.
const logCacheSize = 512

// openBolt opens the file that holds the log, the term and the vote. To open it
// for writing, bbolt walks all its pages in a goroutine of its own, where damage
// is the end of the process: check it read-only first.
func openBolt(dir string, readOnly bool) (*raftboltdb.BoltStore, error) {
	path := filepath.Join(dir, logFile)
	var store *raftboltdb.BoltStore
	err := catchFault(func() (err error) {
		store, err = raftboltdb.New(raftboltdb.Options{
			Path:   path,
			NoSync: sabotage.On(sabotage.UnsyncedLog),
			BoltOptions: &bbolt.Options{
				ReadOnly:       readOnly,
				Timeout:        time.Second,           // for the lock that another process may have
				NoFreelistSync: true,                  // else every commit writes the whole freelist
				FreelistType:   bbolt.FreelistMapType, // finds free pages in O(1) after a long log was cut
			},
		})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("data directory %s is in use by another process", dir)
	case err != nil:
		return nil, fmt.Errorf("the log %s cannot be opened: %w; %s", path, err, cure)
	}
	return store, nil
}

// store is the disk as raft sees it: every operation is timed, and the first
// one that fails or takes longer than the limit ends the node. raft itself would
// go on in ways that cost safety (a follower that truncated and could not append
// keeps a wrong last index) or the process (it panics when a term cannot be
// written), and a leader whose disk stalls would stay leader and answer nothing
// (hashicorp/raft issue 503).
type store struct {
	disk  host.Disk
	clock host.Clock
	limit time.Duration
	fail  func(error) // ends the node; the first call counts
	idle  sync.Pool   // of operations
	// failed is the first write that failed: from then on none is tried. What a disk
	// says after it has failed to sync is not to be believed.
	failed atomic.Pointer[error]
	// opened is closed once raft runs: from then on a failed operation is in a
	// goroutine of raft's.
	opened chan struct{}
	// slow counts the operations under way that have taken a slice or more. slowly, if
	// set, is told when each has, and when it has ended. It must not block.
	slow   atomic.Int64
	slowly func(operation string, ended bool)
	// What writing took, in nanoseconds; nil if nobody wants to know.
	logWrites, termWrites *tally.Histogram
}

var (
	_ raft.LogStore          = (*store)(nil)
	_ raft.MonotonicLogStore = (*store)(nil)
	_ raft.StableStore       = (*store)(nil)
)

// operation is one that is under way. The limit is counted in slices: while the
// process is stopped, or its machine, no slice ends, so that a pause is not taken for a
// disk that stalls. Operations are used again, with their timers: there is one for each
// entry.
type operation struct {
	store *store
	timer *time.Timer

	mu      sync.Mutex // guards what follows
	name    string
	left    int // slices
	stopped bool
	slow    bool // it is counted as such
}

// parts is how many slices make the limit.
const parts = 10

// watch times one operation, until its stop.
func (s *store) watch(name string) *operation {
	if op, ok := s.idle.Get().(*operation); ok {
		op.mu.Lock()
		defer op.mu.Unlock()
		op.name, op.left, op.stopped = name, parts, false
		op.timer.Reset(s.limit / parts)
		return op
	}
	op := &operation{store: s, name: name, left: parts}
	op.mu.Lock()
	defer op.mu.Unlock()
	op.timer = time.AfterFunc(s.limit/parts, op.slice)
	return op
}

// slice is called when a slice has ended.
func (op *operation) slice() {
	op.store.clock.Monotonic() // nobody reads the clock of a machine that is stopped
	op.mu.Lock()
	op.left--
	stalled := !op.stopped && op.left <= 0
	if !op.stopped && op.left > 0 {
		op.timer.Reset(op.store.limit / parts)
	}
	name, slow := op.name, !op.stopped && !op.slow
	if slow {
		op.slow = true
		op.store.slow.Add(1)
	}
	op.mu.Unlock()
	if slow && op.store.slowly != nil {
		op.store.slowly(name, false)
	}
	if stalled {
		op.store.fail(fmt.Errorf("disk stalled: %s has taken longer than %v: check the disk, then start the node again", name, op.store.limit))
	}
}

// stop ends the watch. An operation whose slice may be at its end at this moment is not
// used again: that slice is not the next one's.
func (op *operation) stop() {
	op.mu.Lock()
	op.stopped = true
	reusable := op.timer.Stop()
	name, slow := op.name, op.slow
	if slow {
		op.slow = false
		op.store.slow.Add(-1)
	}
	op.mu.Unlock()
	if slow && op.store.slowly != nil {
		op.store.slowly(name, true)
	}
	if reusable {
		op.store.idle.Put(op)
	}
}

// IsMonotonic makes raft remove the old log when the node is brought up to date by
// a snapshot. Else it would keep entries from before the gap, some of which were
// never committed, and could send them to others as if they were.
func (s *store) IsMonotonic() bool { return true }

// forgetHalfBootstrap undoes a bootstrap that was cut short: raft writes the term
// before the founding membership, and would take the term for a log. It is for a
// node that has never run.
func (s *store) forgetHalfBootstrap() error {
	last, err := s.LastIndex()
	if err != nil || last > 0 {
		return err
	}
	return s.SetUint64(termKey, 0)
}

// check ends the node if an operation failed.
func (s *store) check(op string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("disk failed: %s: %w", op, err)
	if !s.failed.CompareAndSwap(nil, &err) {
		err = *s.failed.Load()
	}
	s.fail(err)
	return err
}

// broken is why nothing is written any more, or nil.
func (s *store) broken() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// checkOrPark is check for operations whose failure makes raft panic. Its
// goroutine ends here instead, with its defers run; the node is ending anyway.
func (s *store) checkOrPark(op string, err error) error {
	err = s.check(op, err)
	if err != nil {
		select {
		case <-s.opened:
			runtime.Goexit()
		default:
		}
	}
	return err
}

func (s *store) FirstIndex() (uint64, error) {
	defer s.watch("reading the log's first index").stop()
	return s.disk.FirstIndex()
}

func (s *store) LastIndex() (uint64, error) {
	defer s.watch("reading the log's last index").stop()
	return s.disk.LastIndex()
}

func (s *store) GetLog(index uint64, entry *raft.Log) error {
	defer s.watch("reading the log").stop()
	err := s.disk.GetLog(index, entry)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	return s.checkOrPark(fmt.Sprintf("reading log entry %d", index), err)
}

func (s *store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

func (s *store) StoreLogs(entries []*raft.Log) error {
	defer s.watch("writing the log").stop()
	if err := s.broken(); err != nil {
		return err
	}
	return s.check("writing the log", timed(s.logWrites, func() error { return s.disk.StoreLogs(entries) }))
}

func (s *store) DeleteRange(from, to uint64) error {
	defer s.watch("cutting the log").stop()
	if err := s.broken(); err != nil {
		return err
	}
	return s.check("cutting the log", s.disk.DeleteRange(from, to))
}

func (s *store) Set(key, value []byte) error {
	defer s.watch("writing the vote").stop()
	if err := s.broken(); err != nil {
		return err
	}
	return s.check("writing the vote", timed(s.termWrites, func() error { return s.disk.Set(key, value) }))
}

func (s *store) Get(key []byte) ([]byte, error) {
	defer s.watch("reading the vote").stop()
	return s.disk.Get(key)
}

func (s *store) SetUint64(key []byte, value uint64) error {
	defer s.watch("writing the term").stop()
	err := s.broken()
	if err == nil {
		err = timed(s.termWrites, func() error { return s.disk.SetUint64(key, value) })
	}
	return s.checkOrPark("writing the term", err)
}

func (s *store) GetUint64(key []byte) (uint64, error) {
	defer s.watch("reading the term").stop()
	return s.disk.GetUint64(key)
}
