package cluster

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raftTransport is raft's transport, with six differences: that it is told which member
// a message is for, see [addressed]; what reaches raft's main loop, see [intake]; that raft
// hears of an entry's acknowledgement when this node has written it too, see
// [parallelLog]; that a member which was absent is sent entries as soon as it is back, see
// [absences]; that a pipeline begins when a follower has nearly all; and that nobody
// waits in one for ever.
//
// In a pipeline raft sends 64 entries for each new one, and when there are no new ones,
// 64 for each CommitTimeout: a follower that is 15,000 behind takes a minute. Without, it
// sends the next when the last were answered.
//
// When a follower refuses an entry, raft's reader of the answers leaves; if its sender is
// about to hand over the next entry at that moment, the answers before it have no
// taker, and it waits until the pipeline is closed, which is its own to do. The follower
// gets heartbeats and no entries from then on, as long as the term lasts, and raft
// cannot be shut down.
type raftTransport struct {
	*raft.NetworkTransport
	intake   *intake
	absences *absences
	log      *parallelLog  // set before raft runs
	patience time.Duration // how long an entry may take to be handed over

	mu     sync.Mutex
	open   map[*pipeline]struct{}
	has    map[raft.ServerID]uint64 // the latest entry of each that is without a pipeline
	closed bool
}

var (
	_ raft.Transport   = (*raftTransport)(nil)
	_ raft.WithPreVote = (*raftTransport)(nil)
)

func newRaftTransport(inner *raft.NetworkTransport, patience time.Duration, fail func(error)) *raftTransport {
	return &raftTransport{
		NetworkTransport: inner, intake: newIntake(inner.Consumer(), fail), absences: newAbsences(), patience: patience,
		open: map[*pipeline]struct{}{}, has: map[raft.ServerID]uint64{},
	}
}

var errPipelinesClosed = errors.New("the node ends")

// AppendEntries implements [raft.Transport].
func (t *raftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := t.reach(id, !isHeartbeat(args), func() error {
		return t.NetworkTransport.AppendEntries(id, addressed(id, target), args, resp)
	})
	if err == nil && !t.haveWritten(args) {
		return errPipelinesClosed
	}
	if err == nil && resp.Success {
		t.note(id, args)
	}
	return err
}

// reach calls attempt, which sends something to a member: entries, or a snapshot, when that may be reached.
func (t *raftTransport) reach(id raft.ServerID, entries bool, attempt func() error) error {
	if entries {
		t.absences.wait(id)
	}
	err := attempt()
	switch {
	case err == nil:
		t.absences.answered(id)
	case entries:
		t.absences.failed(id)
	}
	return err
}

// note notes what a member has.
func (t *raftTransport) note(id raft.ServerID, args *raft.AppendEntriesRequest) {
	last := args.PrevLogEntry
	if n := len(args.Entries); n > 0 {
		last = args.Entries[n-1].Index
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.has[id] = last
}

// behind reports whether a member lacks more than one request brings.
func (t *raftTransport) behind(id raft.ServerID) bool {
	last, err := t.log.LastIndex()
	t.mu.Lock()
	defer t.mu.Unlock()
	return err == nil && last > t.has[id]+maxAppendEntries
}

// haveWritten waits until this node has what it sent, too.
func (t *raftTransport) haveWritten(args *raft.AppendEntriesRequest) bool {
	n := len(args.Entries)
	return n == 0 || t.log.await(args.Entries[n-1].Index)
}

// AppendEntriesPipeline implements [raft.Transport].
func (t *raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if t.behind(id) {
		return nil, raft.ErrPipelineReplicationNotSupported // it will ask again
	}
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, addressed(id, target))
	if err != nil {
		return nil, err
	}
	p := &pipeline{inner: inner, of: t, acks: make(chan raft.AppendFuture), closed: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, errors.Join(errPipelinesClosed, inner.Close())
	}
	t.open[p] = struct{}{}
	delete(t.has, id)
	go p.forward() // until the pipeline is closed, which raft does
	return p, nil
}

// closePipelines ends all pipelines, now and to come, and all that waits for this
// node's own log or for an absent member. It is idempotent.
func (t *raftTransport) closePipelines() {
	t.mu.Lock()
	if !t.closed {
		close(t.absences.ended)
	}
	t.closed = true
	open := t.open
	t.open = map[*pipeline]struct{}{}
	t.mu.Unlock()
	t.log.giveUp()
	for p := range open {
		p.end()
	}
}

// pipeline is a connection to one follower. Its goroutine holds acknowledgements back.
type pipeline struct {
	inner  raft.AppendPipeline
	of     *raftTransport
	acks   chan raft.AppendFuture // those that raft may believe
	once   sync.Once
	closed chan struct{}
}

// forward passes acknowledgements on, in order.
func (p *pipeline) forward() {
	for {
		select {
		case f := <-p.inner.Consumer():
			if !p.of.haveWritten(f.Request()) {
				p.end() // raft falls back to one entry at a time
				return
			}
			select {
			case p.acks <- f:
			case <-p.closed:
				return
			}
		case <-p.closed:
			return
		}
	}
}

// AppendEntries implements [raft.AppendPipeline].
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	stuck := time.AfterFunc(p.of.patience, p.end) // raft falls back to one entry at a time
	defer stuck.Stop()
	return p.inner.AppendEntries(args, resp)
}

// Consumer implements [raft.AppendPipeline].
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.acks }

// end breaks the connection.
func (p *pipeline) end() {
	p.once.Do(func() { close(p.closed) })
	_ = p.inner.Close() // has no errors
}

// Close implements [raft.AppendPipeline].
func (p *pipeline) Close() error {
	p.of.mu.Lock()
	delete(p.of.open, p)
	p.of.mu.Unlock()
	p.end()
	return nil
}
