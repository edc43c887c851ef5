package testcluster

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// raftWire is raft's transport with copies of messages that arrive again: at
// once, or so late that newer ones have overtaken them.
type raftWire struct {
	raftTransport
	harm *raftHarm
}

// raftTransport is what a node gives raft.
type raftTransport interface {
	raft.Transport
	raft.WithPreVote
}

// raftHarm is what happens to the messages that one machine sends.
type raftHarm struct {
	upTo   atomic.Int64 // how late a copy comes, in nanoseconds; -1: there are none
	copies atomic.Int64
	ctx    context.Context // of copies under way
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	chance *rand.Rand
}

func newRaftHarm(seed uint64) *raftHarm {
	h := &raftHarm{chance: rand.New(rand.NewPCG(seed, 8))}
	h.upTo.Store(-1)
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// close ends the copies under way and waits.
func (h *raftHarm) close() {
	h.cancel()
	h.wg.Wait()
}

func (h *raftHarm) wrap(trans raft.Transport) raft.Transport {
	return raftWire{raftTransport: trans.(raftTransport), harm: h}
}

// copyChance is how many of the messages come twice while the harm lasts.
const copyChance = 0.3

// again sends a copy, if one is due.
func (h *raftHarm) again(send func()) {
	upTo := h.upTo.Load()
	if upTo < 0 {
		return
	}
	h.mu.Lock()
	strikes, late := h.chance.Float64() < copyChance, time.Duration(h.chance.Int64N(upTo+1))
	h.mu.Unlock()
	if !strikes {
		return
	}
	h.copies.Add(1)
	h.wg.Go(func() {
		select {
		case <-time.After(late):
			send()
		case <-h.ctx.Done():
		}
	})
}

// AppendEntries implements [raft.Transport].
func (w raftWire) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	w.harm.again(func() { _ = w.raftTransport.AppendEntries(id, target, args, new(raft.AppendEntriesResponse)) }) // nobody waits for it
	return w.raftTransport.AppendEntries(id, target, args, resp)
}

// RequestVote implements [raft.Transport].
func (w raftWire) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	w.harm.again(func() { _ = w.raftTransport.RequestVote(id, target, args, new(raft.RequestVoteResponse)) })
	return w.raftTransport.RequestVote(id, target, args, resp)
}

// AppendEntriesPipeline implements [raft.Transport].
func (w raftWire) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := w.raftTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	return raftPipeline{inner, w, id, target}, nil
}

// raftPipeline is a pipeline whose messages may come again, beside it.
type raftPipeline struct {
	raft.AppendPipeline
	wire   raftWire
	id     raft.ServerID
	target raft.ServerAddress
}

// AppendEntries implements [raft.AppendPipeline].
func (p raftPipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	p.wire.harm.again(func() {
		_ = p.wire.raftTransport.AppendEntries(p.id, p.target, args, new(raft.AppendEntriesResponse))
	})
	return p.AppendPipeline.AppendEntries(args, resp)
}
