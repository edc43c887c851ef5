package cluster

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
)

// What an operator would want to know of, a line each: that something has begun, and
// that it is over. A call leaves no line.

// tellLeader notes that another leader is known, or none.
func (n *Node) tellLeader(before, now sema.Leader) {
	switch {
	case now.ID == before.ID:
		return
	case now.ID == "":
		n.log.Warn("no leader is known", "last", before.ID)
		return
	case now.ID != n.cfg.ID: // else it says that it leads
		n.log.Info("a leader is known", "leader", now.ID, "raftAddr", now.RaftAddr)
	}
	n.meters.leaderChanges.Add(1)
}

// watchPeers tells, while this node leads, which nodes have ceased to answer, and which
// answer again, until ctx ends.
func (n *Node) watchPeers(ctx context.Context) {
	observations := make(chan raft.Observation, 64)
	n.raft.RegisterObserver(raft.NewObserver(observations, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.FailedHeartbeatObservation, raft.ResumedHeartbeatObservation, raft.RaftState:
			return true
		}
		return false
	})) // for good, as the one of watchLeader
	silent := map[raft.ServerID]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-observations:
			switch seen := o.Data.(type) {
			case raft.RaftState: // what it knew of the others ends with leadership
				clear(silent)
			case raft.FailedHeartbeatObservation: // of each that fails
				if !silent[seen.PeerID] {
					silent[seen.PeerID] = true
					n.log.Warn("a node does not answer", "node", seen.PeerID, "lastContact", seen.LastContact.UTC())
				}
			case raft.ResumedHeartbeatObservation:
				if silent[seen.PeerID] {
					delete(silent, seen.PeerID)
					n.log.Info("a node answers again", "node", seen.PeerID)
				}
			}
		}
	}
}

// overload tells when commands begin to be refused, and when that is over.
type overload struct {
	begun   atomic.Bool
	refused atomic.Uint64 // since it begun
	last    atomic.Int64  // when, in Unix nanoseconds
}

// overloadCalm is for how long nothing must be refused.
const overloadCalm = 10 * time.Second

// refuse notes that n commands were refused because the queue is full.
func (o *office) refuse(n int64) {
	over := &o.node.overload
	o.node.meters.overloaded.Add(uint64(n))
	over.refused.Add(uint64(n))
	over.last.Store(time.Now().UnixNano())
	if over.begun.CompareAndSwap(false, true) {
		o.node.log.Warn("overloaded: commands are refused until the proposer catches up", "queue", cap(o.queue))
	}
}

// calm tells if that is over. It is called now and then.
func (v *overload) calm(n *Node) {
	if v.begun.Load() && time.Now().UnixNano()-v.last.Load() > int64(overloadCalm) && v.begun.CompareAndSwap(true, false) {
		n.log.Info("no longer overloaded", "refused", v.refused.Swap(0))
	}
}

// tellSlow is told of a disk operation that takes long, and when it has ended after all.
// That a disk goes on being slow is told every now and then.
func (n *Node) tellSlow(operation string, ended bool) {
	omitted, ok := n.slowLines.Pass()
	switch {
	case !ok:
	case ended:
		n.log.Info("a slow disk operation has ended", "operation", operation, "linesLeftOut", omitted)
	default:
		n.log.Warn("the disk is slow", "operation", operation, "takesMoreThan", (n.cfg.WatchdogTimeout / parts).String(),
			"endsNodeAfter", n.cfg.WatchdogTimeout.String(), "linesLeftOut", omitted)
	}
}

// diskLook is how often the size of the log is looked at.
const diskLook = 15 * time.Second

// watchSize looks how large the log is, until ctx ends: not when somebody asks, who
// would wait for the disk.
func (n *Node) watchSize(ctx context.Context) {
	tick := time.NewTicker(diskLook)
	defer tick.Stop()
	for {
		n.meters.diskBytes.Store(logBytes(n.cfg.DataDir))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// logBytes is the size of the files that have the log, term and vote, or -1 if they
// cannot be looked at.
func logBytes(dir string) int64 {
	var sum int64
	add := func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil // removed since
		}
		sum += info.Size()
		return nil
	}
	if info, err := os.Stat(filepath.Join(dir, logFile)); err == nil {
		sum += info.Size()
	} else {
		return -1
	}
	if wal := filepath.Join(dir, walDir); exists(wal) {
		if err := filepath.WalkDir(wal, add); err != nil {
			return -1
		}
	}
	return sum
}
