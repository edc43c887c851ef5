package cluster

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/sabotage"
)

// parallelLog has a leader write its log while its followers write theirs, instead of
// before (Ongaro, Consensus: Bridging Theory and Practice, 2014, section 10.2.1). raft
// takes an entry for written as soon as StoreLogs returns, and counts the leader among
// those that have it. So here is what keeps that from being believed too early:
//
//   - A follower's acknowledgement of an entry reaches raft when the leader has
//     written it too, see [raftTransport] and await. An entry is committed when a
//     follower has acknowledged it: thus a quorum has written it, the leader among them.
//   - A leader that no follower is needed for, alone or about to be, writes first:
//     so do membership changes, which could make it one.
//   - A node that ceases to lead has written all before it does anything else: a
//     follower vouches for what its log has.
//
// A write that fails is for ever, and ends the node.
type parallelLog struct {
	inner raft.LogStore
	later atomic.Pointer[func([]*raft.Log) bool] // whether entries may be written later; nil: none may
	wg    sync.WaitGroup

	mu      sync.Mutex
	work    sync.Cond   // there is something to write, or the log is closed
	written sync.Cond   // something was written, failed or given up
	pending []*raft.Log // taken and not written, in order
	err     error       // why nothing is written any more
	givenUp bool        // nobody waits for acknowledgements any more
	ghost   uint64      // see replaced; 0: none
	closed  bool
}

var (
	_ raft.LogStore          = (*parallelLog)(nil)
	_ raft.MonotonicLogStore = (*parallelLog)(nil)
)

// newParallelLog starts the goroutine that writes. close ends it.
func newParallelLog(inner raft.LogStore) *parallelLog {
	l := &parallelLog{inner: inner}
	l.work.L, l.written.L = &l.mu, &l.mu
	l.wg.Go(l.write)
	return l
}

// runs says whose log it is.
func (l *parallelLog) runs(r *raft.Raft) {
	// raft calls filters in the goroutine that changes the state, before that goes on.
	r.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if state, ok := o.Data.(raft.RaftState); ok && (state == raft.Follower || state == raft.Candidate) {
			_ = l.flush() // if it fails, so does all that follows, and the node ends
		}
		return false
	}))
	later := func(entries []*raft.Log) bool { return needFollower(r, entries) }
	l.later.Store(&later)
}

// write writes what is pending until the log is closed.
func (l *parallelLog) write() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.pending) == 0 && !l.closed {
			l.work.Wait()
		}
		if len(l.pending) == 0 || l.err != nil {
			return
		}
		l.mu.Unlock()
		runtime.Gosched() // those who send it go first: a disk keeps a processor busy for a while
		l.mu.Lock()
		batch := l.pending
		l.mu.Unlock()
		err := l.inner.StoreLogs(batch)
		l.mu.Lock()
		l.pending = l.pending[len(batch):]
		l.err = err
		l.written.Broadcast()
	}
}

// needFollower reports whether no quorum for these entries is without a follower of
// this node, their leader.
func needFollower(r *raft.Raft, entries []*raft.Log) bool {
	if r.State() != raft.Leader {
		return false
	}
	for _, e := range entries {
		if e.Type == raft.LogConfiguration {
			return false
		}
	}
	voters := 0
	for _, s := range r.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
	}
	return voters > 1
}

// StoreLog implements [raft.LogStore].
func (l *parallelLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs implements [raft.LogStore].
func (l *parallelLog) StoreLogs(entries []*raft.Log) error {
	if len(entries) == 1 && l.haunts(entries[0].Index) {
		return nil
	}
	if later := l.later.Load(); later == nil || !(*later)(entries) {
		if err := l.flush(); err != nil {
			return err
		}
		return l.inner.StoreLogs(entries)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if l.closed {
		return errLogClosed
	}
	l.pending = append(l.pending, entries...)
	l.work.Signal()
	return nil
}

var errLogClosed = errors.New("the log is closed")

// flush waits until all that was taken before is written.
func (l *parallelLog) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.pending); n > 0 {
		for last := l.pending[n-1].Index; !l.has(last) && l.err == nil; {
			l.written.Wait()
		}
	}
	return l.err
}

// has reports whether an entry that was taken is written. mu is held.
func (l *parallelLog) has(index uint64) bool {
	return l.err == nil && (len(l.pending) == 0 || l.pending[0].Index > index)
}

// await waits until an entry is written, and reports whether it is: it may have failed,
// or the node may be ending.
func (l *parallelLog) await(index uint64) bool {
	if sabotage.On(sabotage.EarlyAcks) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.has(index) && l.err == nil && !l.givenUp {
		l.written.Wait()
	}
	return l.has(index)
}

// giveUp ends all waiting for acknowledgements, now and to come: raft is about to stop,
// and waits for those who wait.
func (l *parallelLog) giveUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.givenUp = true
	l.written.Broadcast()
}

// close writes what is pending and ends. Nothing may be stored from then on.
func (l *parallelLog) close() {
	l.mu.Lock()
	l.closed = true
	l.work.Signal()
	l.mu.Unlock()
	l.wg.Wait()
}

// GetLog implements [raft.LogStore].
func (l *parallelLog) GetLog(index uint64, entry *raft.Log) error {
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return l.err
	}
	if n := len(l.pending); n > 0 && index >= l.pending[0].Index && index <= l.pending[n-1].Index {
		defer l.mu.Unlock()
		*entry = *l.pending[index-l.pending[0].Index]
		return nil
	}
	if l.ghost != 0 && l.ghost == index {
		defer l.mu.Unlock()
		*entry = raft.Log{Index: index}
		return nil
	}
	l.mu.Unlock()
	return l.inner.GetLog(index, entry)
}

// replaced calls tell, by which raft is sent the last entry of a snapshot that has replaced
// the log. Meanwhile the log seems to have another entry there, as if raft had to remove that
// and all after it, and takes the snapshot's for written.
func (l *parallelLog) replaced(index uint64, tell func()) {
	set := func(index uint64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ghost = index
	}
	set(index)
	defer set(0)
	tell()
}

func (l *parallelLog) haunts(index uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ghost != 0 && l.ghost == index
}

// FirstIndex implements [raft.LogStore].
func (l *parallelLog) FirstIndex() (uint64, error) {
	first, err := l.inner.FirstIndex()
	if err != nil || first != 0 {
		return first, err
	}
	if err := l.flush(); err != nil { // all there is may be pending
		return 0, err
	}
	return l.inner.FirstIndex()
}

// LastIndex implements [raft.LogStore].
func (l *parallelLog) LastIndex() (uint64, error) {
	l.mu.Lock()
	if n := len(l.pending); n > 0 {
		defer l.mu.Unlock()
		return l.pending[n-1].Index, l.err
	}
	l.mu.Unlock()
	return l.inner.LastIndex()
}

// DeleteRange implements [raft.LogStore].
func (l *parallelLog) DeleteRange(from, to uint64) error {
	if l.haunts(from) {
		return nil
	}
	if err := l.flush(); err != nil {
		return err
	}
	return l.inner.DeleteRange(from, to)
}

// IsMonotonic implements [raft.MonotonicLogStore].
func (l *parallelLog) IsMonotonic() bool { return true }
