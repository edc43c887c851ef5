package cluster

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/semanode/sema/internal/host"
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
			Path: path,
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
	// opened is closed once raft runs: from then on a failed operation is in a
	// goroutine of raft's.
	opened chan struct{}
}

var (
	_ raft.LogStore          = (*store)(nil)
	_ raft.MonotonicLogStore = (*store)(nil)
	_ raft.StableStore       = (*store)(nil)
)

// watch times one operation. The limit is counted in slices: while the process is
// stopped, or its machine, no slice ends, so that a pause is not taken for a disk
// that stalls.
func (s *store) watch(op string) (stop func()) {
	const slices = 10
	var mu sync.Mutex // guards what follows
	left, stopped := slices, false
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(s.limit/slices, func() {
		s.clock.Monotonic() // nobody reads the clock of a machine that is stopped
		mu.Lock()
		left--
		stalled := !stopped && left <= 0
		if !stopped && left > 0 {
			timer.Reset(s.limit / slices)
		}
		mu.Unlock()
		if stalled {
			s.fail(fmt.Errorf("disk stalled: %s has taken longer than %v: check the disk, then start the node again", op, s.limit))
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
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

// check ends the node if a write failed.
func (s *store) check(op string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("disk failed: %s: %w", op, err)
	s.fail(err)
	return err
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
	defer s.watch("reading the log's first index")()
	return s.disk.FirstIndex()
}

func (s *store) LastIndex() (uint64, error) {
	defer s.watch("reading the log's last index")()
	return s.disk.LastIndex()
}

func (s *store) GetLog(index uint64, entry *raft.Log) error {
	defer s.watch("reading the log")()
	err := s.disk.GetLog(index, entry)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	return s.checkOrPark(fmt.Sprintf("reading log entry %d", index), err)
}

func (s *store) StoreLog(entry *raft.Log) error { return s.StoreLogs([]*raft.Log{entry}) }

func (s *store) StoreLogs(entries []*raft.Log) error {
	defer s.watch("writing the log")()
	return s.check("writing the log", s.disk.StoreLogs(entries))
}

func (s *store) DeleteRange(from, to uint64) error {
	defer s.watch("cutting the log")()
	return s.check("cutting the log", s.disk.DeleteRange(from, to))
}

func (s *store) Set(key, value []byte) error {
	defer s.watch("writing the vote")()
	return s.check("writing the vote", s.disk.Set(key, value))
}

func (s *store) Get(key []byte) ([]byte, error) {
	defer s.watch("reading the vote")()
	return s.disk.Get(key)
}

func (s *store) SetUint64(key []byte, value uint64) error {
	defer s.watch("writing the term")()
	return s.checkOrPark("writing the term", s.disk.SetUint64(key, value))
}

func (s *store) GetUint64(key []byte) (uint64, error) {
	defer s.watch("reading the term")()
	return s.disk.GetUint64(key)
}
