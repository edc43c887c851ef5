package cluster

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// slowLog takes a second for each write, or fails.
type slowLog struct {
	*raft.InmemStore
	err error
}

func (s *slowLog) StoreLogs(entries []*raft.Log) error {
	time.Sleep(time.Second) // virtual
	if s.err != nil {
		return s.err
	}
	return s.InmemStore.StoreLogs(entries)
}

func entriesFrom(first, n uint64) (all []*raft.Log) {
	for i := range n {
		all = append(all, &raft.Log{Index: first + i, Term: 1})
	}
	return all
}

// lagging returns a log of a leader with followers.
func lagging(inner raft.LogStore) *parallelLog {
	l := newParallelLog(inner)
	later := func([]*raft.Log) bool { return true }
	l.later.Store(&later)
	return l
}

func took(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

// An entry is there at once, and vouched for when it is written.
func TestLeaderWritesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &slowLog{InmemStore: raft.NewInmemStore()}
		l := lagging(inner)
		defer l.close()
		if d := took(func() {
			if err := errors.Join(l.StoreLogs(entriesFrom(1, 2)), l.StoreLog(entriesFrom(3, 1)[0])); err != nil {
				t.Error(err)
			}
		}); d != 0 {
			t.Errorf("storing took %v", d)
		}
		var e raft.Log
		if err := l.GetLog(3, &e); err != nil || e.Index != 3 {
			t.Errorf("entry 3 is %v, %v", e.Index, err)
		}
		if last, err := l.LastIndex(); last != 3 || err != nil {
			t.Errorf("the last entry is %d, %v", last, err)
		}
		if err := l.GetLog(4, &e); !errors.Is(err, raft.ErrLogNotFound) {
			t.Errorf("entry 4: %v", err)
		}
		for _, index := range []uint64{2, 3} {
			if !l.await(index) {
				t.Errorf("entry %d was not written", index)
			}
			if err := inner.GetLog(index, &e); err != nil {
				t.Errorf("entry %d is not there: %v", index, err)
			}
		}
		if err := l.GetLog(1, &e); err != nil || e.Index != 1 {
			t.Errorf("entry 1 is %v, %v", e.Index, err)
		}
	})
}

// Who no longer leads, or cuts the log, finds all of it written.
func TestFlushWaitsForTheDisk(t *testing.T) {
	for name, do := range map[string]func(*parallelLog) error{
		"flush": (*parallelLog).flush,
		"cut":   func(l *parallelLog) error { return l.DeleteRange(1, 1) },
		"write": func(l *parallelLog) error {
			l.later.Store(nil)
			return l.StoreLogs(entriesFrom(3, 1))
		},
		"first": func(l *parallelLog) error {
			if first, err := l.FirstIndex(); first != 1 || err != nil {
				return errors.Join(errors.New("not the first"), err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &slowLog{InmemStore: raft.NewInmemStore()}
				l := lagging(inner)
				defer l.close()
				if err := errors.Join(l.StoreLogs(entriesFrom(1, 2)), do(l)); err != nil {
					t.Error(err)
				}
				var e raft.Log
				if err := inner.GetLog(2, &e); err != nil {
					t.Errorf("what was taken before is not on disk: %v", err)
				}
			})
		})
	}
}

// A write that failed is not tried again, and nothing is vouched for or read any more.
func TestFailedWriteIsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		inner := &slowLog{InmemStore: raft.NewInmemStore(), err: broken}
		l := lagging(inner)
		defer l.close()
		if err := l.StoreLogs(entriesFrom(1, 1)); err != nil {
			t.Error(err)
		}
		if l.await(1) {
			t.Error("an entry that was not written is vouched for")
		}
		inner.err = nil
		var e raft.Log
		for name, err := range map[string]error{
			"StoreLogs": l.StoreLogs(entriesFrom(2, 1)), "GetLog": l.GetLog(1, &e), "flush": l.flush(), "DeleteRange": l.DeleteRange(1, 1),
		} {
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A node that ends waits for no acknowledgement, and writes what it has taken.
func TestGivingUpEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &slowLog{InmemStore: raft.NewInmemStore()}
		l := lagging(inner)
		if err := l.StoreLogs(entriesFrom(1, 1)); err != nil {
			t.Error(err)
		}
		time.AfterFunc(time.Millisecond, l.giveUp)
		if d := took(func() {
			if l.await(1) {
				t.Error("what is not written is vouched for")
			}
		}); d != time.Millisecond {
			t.Errorf("the wait ended after %v", d)
		}
		l.close()
		if last, err := inner.LastIndex(); last != 1 || err != nil {
			t.Errorf("the last entry on disk is %d, %v", last, err)
		}
		if err := l.StoreLogs(entriesFrom(2, 1)); !errors.Is(err, errLogClosed) {
			t.Errorf("a closed log: %v", err)
		}
	})
}
