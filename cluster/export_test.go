package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/disklog"
)

// ApplyEntry proposes one entry beside the proposer, as it is.
func (n *Node) ApplyEntry(batch fsm.Batch) raft.ApplyFuture {
	entry, err := fsm.AppendBatch(nil, batch)
	if err != nil {
		panic(err)
	}
	return n.raft.Apply(entry, time.Minute)
}

// Term returns the raft term.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// Clock returns cluster time as of the last entry applied.
func (n *Node) Clock() fsm.Time { return n.machine.Clock() }

// LockFile locks a file as who restores does.
func LockFile(f *os.File) error { return lockFile(f) }

// Level returns the level that the log has reached.
func (n *Node) Level() int { return n.machine.Level() }

// AppliedIndex returns the index of the last entry applied.
func (n *Node) AppliedIndex() uint64 { return n.raft.AppliedIndex() }

// LastIndex returns the index of the last entry written. It is there before the
// entry's callers have their answer; AppliedIndex may come after.
func (n *Node) LastIndex() uint64 { return n.raft.LastIndex() }

// FirstIndex returns the index of the first entry that is still in the log.
func (n *Node) FirstIndex() uint64 {
	first, err := n.disk.FirstIndex()
	if err != nil {
		panic(err)
	}
	return first
}

// LastSnapshot returns the index of the last snapshot.
func (n *Node) LastSnapshot() string { return n.raft.Stats()["last_snapshot_index"] }

// HandOver gives leadership away without ending the node.
func (n *Node) HandOver() { n.handOver() }

// StallDisk makes every write of the log hang, as on a disk that does not answer,
// until resume is called: it takes the writer's lock of what keeps the log.
func (n *Node) StallDisk() (resume func()) {
	switch log := n.disk.(directory).LogStore.(type) {
	case *raftboltdb.BoltStore:
		tx, err := (*(**bbolt.DB)(hidden(log, "conn"))).Begin(true)
		if err != nil {
			panic(err)
		}
		return sync.OnceFunc(func() { _ = tx.Rollback() })
	default:
		mu := (*sync.RWMutex)(hidden(log, "mu"))
		mu.Lock()
		return sync.OnceFunc(mu.Unlock)
	}
}

// hidden is a field of another package's struct.
func hidden(of any, field string) unsafe.Pointer {
	return unsafe.Pointer(reflect.ValueOf(of).Elem().FieldByName(field).UnsafeAddr())
}

// LogEntries returns the log of a node that is stopped, from wherever it is.
func LogEntries(dir string) (entries []*raft.Log, err error) {
	r, err := readFounding(dir)
	if err != nil {
		return nil, err
	}
	bolt, err := openBolt(dir, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bolt.Close()) }()
	var log diskLog = bolt
	if r.store() == WAL {
		if log, err = disklog.Check(filepath.Join(dir, walDir), bolt); err != nil {
			return nil, err
		}
	}
	first, err := log.FirstIndex()
	if err != nil {
		return nil, err
	}
	last, err := log.LastIndex()
	for i := max(first, 1); i <= last && err == nil; i++ {
		entry := new(raft.Log)
		err = log.GetLog(i, entry)
		entries = append(entries, entry)
	}
	return entries, err
}

// SameEntry reports whether two entries are the same in every field.
func SameEntry(a, b *raft.Log) bool { return sameEntry(a, b) }

// CloseLog makes every later operation of raft on its disk fail.
func (n *Node) CloseLog() error { return n.disk.Close() }

// Heap returns how many deadlines the leader watches.
func (n *Node) Heap() int {
	o := n.office.Load()
	if o == nil {
		return -1
	}
	o.expiry.mu.Lock()
	defer o.expiry.mu.Unlock()
	return len(o.expiry.heap.order)
}

// Waiters returns how many waiters the leader knows, there or away.
func (n *Node) Waiters() int {
	ws := n.office.Load().waiters
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.known) + len(ws.strays)
}

// Entered returns how many waiters are there.
func (n *Node) Entered() int {
	ws := n.office.Load().waiters
	ws.mu.Lock()
	defer ws.mu.Unlock()
	there := 0
	for _, w := range ws.known {
		if w.call != nil {
			there++
		}
	}
	return there
}
