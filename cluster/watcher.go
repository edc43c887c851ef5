package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
)

// watcher follows who leads: it keeps the health service and the address book
// true and wakes those who wait for a leader.
type watcher struct {
	wakeup chan struct{} // holds one token: look again

	mu      sync.Mutex
	leader  sema.Leader   // as last seen
	changed chan struct{} // closed, and replaced, when leader changes
}

func newWatcher() *watcher {
	return &watcher{wakeup: make(chan struct{}, 1), changed: make(chan struct{})}
}

// wake makes the watcher look again. It never blocks.
func (w *watcher) wake() {
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

// set notes who leads and tells those who wait.
func (w *watcher) set(leader sema.Leader) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if leader != w.leader {
		w.leader = leader
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

func (w *watcher) get() (leader sema.Leader, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.leader, w.changed
}

// AwaitLeader implements [transport.Leaders].
func (w *watcher) AwaitLeader(ctx context.Context, failed sema.Leader) (sema.Leader, error) {
	for {
		leader, changed := w.get()
		if leader.ID != failed.ID {
			failed = sema.Leader{} // it is gone; if it comes back, it leads anew
		}
		if leader.ID != "" && leader.ID != failed.ID {
			return leader, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return sema.Leader{}, context.Cause(ctx)
		}
	}
}

// watchLeader runs until ctx ends.
func (n *Node) watchLeader(ctx context.Context) {
	observations := make(chan raft.Observation, 16)
	observer := raft.NewObserver(observations, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(observer) // for good: the log may be flushed under raft's lock of observers
	for {
		before, _ := n.watcher.get()
		leader := n.Leader()
		n.watcher.set(leader)
		n.tellLeader(before, leader)
		n.setServing(leader.ID != "")
		select {
		case <-ctx.Done():
			return
		case <-observations:
		case <-n.watcher.wakeup:
		}
	}
}

// askLeader asks each leader where clients reach it and, again and again, how far the
// log is committed, until ctx ends. The log knows raft addresses only, and a node may
// come back with another address than it had; and raft tells a follower of no more
// committed entries than the follower has.
func (n *Node) askLeader(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		leader, changed := n.watcher.get()
		switch leader.ID {
		case "":
			again.Stop()
		case n.cfg.ID:
			n.progress.told(n.raft.AppliedIndex()) // who is in office has applied all there was
			again.Stop()
		default:
			again.Reset(n.askOnce(ctx, leader.RaftAddr))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again.C:
		}
	}
}

// askOnce asks a leader, and returns when to ask again.
func (n *Node) askOnce(ctx context.Context, raftAddr string) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, peerStatusTimeout)
	defer cancel()
	st, err := n.askPeer(ctx, raftAddr)
	if err != nil {
		return n.cfg.ElectionTimeout
	}
	if n.addrs.get(st.ID) != st.GRPCAddr {
		n.addrs.set(st.ID, st.GRPCAddr)
		n.watcher.wake()
	}
	if !st.Leader { // not in office yet: it does not know what is committed
		return n.cfg.ElectionTimeout / 8
	}
	n.progress.told(st.CommitIndex)
	return progressLook
}

// WaitReady waits until the node is ready, see [Node.Unready].
func (n *Node) WaitReady(ctx context.Context) error {
	look := time.NewTicker(readyLook)
	defer look.Stop()
	for len(n.Unready()) > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.done:
			return n.endError()
		}
	}
	return nil
}

// WaitLeader waits until this node knows a leader.
func (n *Node) WaitLeader(ctx context.Context) error {
	for {
		leader, changed := n.watcher.get()
		if leader.ID != "" {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.done:
			return n.endError()
		}
	}
}
