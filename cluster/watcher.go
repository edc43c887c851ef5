package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"
)

// watcher follows who leads: it keeps the health service and the address book
// true and wakes those who wait for a leader.
type watcher struct {
	changed chan struct{} // holds one token: look again
	known   chan struct{} // closed when a leader is known for the first time
}

func newWatcher() *watcher {
	return &watcher{changed: make(chan struct{}, 1), known: make(chan struct{})}
}

// wake makes the watcher look again. It never blocks.
func (w *watcher) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// watchLeader runs until ctx ends.
func (n *Node) watchLeader(ctx context.Context) {
	observations := make(chan raft.Observation, 16)
	observer := raft.NewObserver(observations, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	n.raft.RegisterObserver(observer)
	defer n.raft.DeregisterObserver(observer)
	for known := false; ; {
		retry := time.Duration(0)
		leader := n.Leader()
		n.setServing(leader.ID != "")
		if leader.ID != "" {
			if !known {
				known = true
				close(n.watcher.known)
			}
			if leader.ID != n.cfg.ID && !n.learnAddress(ctx, leader.RaftAddr) {
				retry = n.cfg.ElectionTimeout // it may have died; then an observation comes too
			}
		}
		if !n.watchMore(ctx, observations, retry) {
			return
		}
	}
}

// watchMore waits for something to look at, or for retry if it is not zero. It
// is false when ctx has ended.
func (n *Node) watchMore(ctx context.Context, observations <-chan raft.Observation, retry time.Duration) bool {
	var timer <-chan time.Time
	if retry > 0 {
		timer = time.After(retry)
	}
	select {
	case <-ctx.Done():
		return false
	case <-observations:
	case <-n.watcher.changed:
	case <-timer:
	}
	return true
}

// learnAddress asks the leader where clients reach it: it may have come back
// with another address than it had.
func (n *Node) learnAddress(ctx context.Context, raftAddr string) bool {
	ctx, cancel := context.WithTimeout(ctx, peerStatusTimeout)
	defer cancel()
	st, err := n.askPeer(ctx, raftAddr)
	if err != nil {
		return false
	}
	n.addrs.set(st.ID, st.GRPCAddr)
	return true
}

// WaitLeader waits until this node knows a leader, for the first time.
func (n *Node) WaitLeader(ctx context.Context) error {
	select {
	case <-n.watcher.known:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.done:
		return n.endError()
	}
}
