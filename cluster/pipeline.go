package cluster

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftTransport is raft's transport, with two differences: what heartbeats may do, see
// [heartbeats], and that nobody waits in a pipeline for ever. When a follower refuses an entry, raft's reader of the answers leaves; if its
// sender is about to hand over the next entry at that moment, the answers before it
// have no taker, and it waits until the pipeline is closed, which is its own to do.
// The follower gets heartbeats and no entries from then on, as long as the term
// lasts, and raft cannot be shut down.
type raftTransport struct {
	*raft.NetworkTransport
	heartbeats *heartbeats
	patience   time.Duration // how long an entry may take to be handed over

	mu     sync.Mutex
	open   map[*pipeline]struct{}
	closed bool
}

var (
	_ raft.Transport   = (*raftTransport)(nil)
	_ raft.WithPreVote = (*raftTransport)(nil)
)

func newRaftTransport(inner *raft.NetworkTransport, patience time.Duration) *raftTransport {
	return &raftTransport{NetworkTransport: inner, heartbeats: newHeartbeats(inner.Consumer()), patience: patience, open: map[*pipeline]struct{}{}}
}

var errPipelinesClosed = errors.New("the node ends")

// AppendEntriesPipeline implements [raft.Transport].
func (t *raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{AppendPipeline: inner, of: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errors.Join(errPipelinesClosed, inner.Close())
	}
	t.open[p] = struct{}{}
	return p, nil
}

// closePipelines ends all pipelines, now and to come.
func (t *raftTransport) closePipelines() {
	t.mu.Lock()
	t.closed = true
	open := t.open
	t.open = map[*pipeline]struct{}{}
	t.mu.Unlock()
	for p := range open {
		_ = p.AppendPipeline.Close() // has no errors
	}
}

type pipeline struct {
	raft.AppendPipeline
	of *raftTransport
}

// AppendEntries implements [raft.AppendPipeline].
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	stuck := time.AfterFunc(p.of.patience, func() { _ = p.AppendPipeline.Close() }) // raft falls back to one entry at a time
	defer stuck.Stop()
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Close implements [raft.AppendPipeline].
func (p *pipeline) Close() error {
	p.of.mu.Lock()
	delete(p.of.open, p)
	p.of.mu.Unlock()
	return p.AppendPipeline.Close()
}
