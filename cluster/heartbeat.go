package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// heartbeats keeps raft's fast path for heartbeats from breaking raft. A heartbeat is
// handled by the goroutine of its connection, so that a slow disk does not look like a
// dead leader. But one from a newer term makes the node a follower of that term while
// its main loop, which may be about to write entries as the leader of the term before,
// writes them under the new one: two different entries with the same index and term,
// which is what Raft must never have (hashicorp/raft issue 695). So a heartbeat that
// would change anything takes the way of all other requests, through the main loop.
type heartbeats struct {
	requests <-chan raft.RPC // of the network
	merged   chan raft.RPC   // those, and heartbeats that are not for the fast path
	stop     chan struct{}
	once     sync.Once
	wg       sync.WaitGroup

	mu   sync.Mutex
	raft *raft.Raft // nil before it runs
}

func newHeartbeats(requests <-chan raft.RPC) *heartbeats {
	h := &heartbeats{requests: requests, merged: make(chan raft.RPC), stop: make(chan struct{})}
	h.wg.Go(func() {
		for {
			select {
			case rpc := <-h.requests:
				h.queue(rpc)
			case <-h.stop:
				return
			}
		}
	})
	return h
}

// runs says whom the heartbeats are for.
func (h *heartbeats) runs(r *raft.Raft) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.raft = r
}

// close ends the goroutine and waits. It is idempotent.
func (h *heartbeats) close() {
	h.once.Do(func() { close(h.stop) })
	h.wg.Wait()
}

// queue hands a request to raft's main loop.
func (h *heartbeats) queue(rpc raft.RPC) {
	select {
	case h.merged <- rpc:
	case <-h.stop: // its connection is closed too
	}
}

// changeNothing reports whether the fast path may handle a heartbeat: in a follower of
// its term it only notes that the leader lives, and an older one it refuses. Between
// the question and the handling the term can only rise.
func (h *heartbeats) changeNothing(rpc raft.RPC) bool {
	h.mu.Lock()
	r := h.raft
	h.mu.Unlock()
	beat, ok := rpc.Command.(*raft.AppendEntriesRequest)
	if !ok || r == nil {
		return false
	}
	term := r.CurrentTerm()
	return beat.Term < term || beat.Term == term && r.State() == raft.Follower
}

// Consumer implements [raft.Transport].
func (t *raftTransport) Consumer() <-chan raft.RPC { return t.heartbeats.merged }

// SetHeartbeatHandler implements [raft.Transport].
func (t *raftTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		if t.heartbeats.changeNothing(rpc) {
			handle(rpc)
		} else {
			t.heartbeats.queue(rpc)
		}
	})
}

// Close implements [raft.WithClose].
func (t *raftTransport) Close() error {
	err := t.NetworkTransport.Close()
	t.heartbeats.close()
	return err
}
