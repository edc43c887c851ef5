package cluster

import (
	"context"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
)

// lease is what the leader knows of its quorum: when it last had an answer from
// one. A refusal may come from the memory of a leader whose lease is fresh, so
// that polling a busy semaphore writes nothing. That can refuse somebody a
// moment after the hold ended elsewhere; it can never grant.
type lease struct {
	length    time.Duration
	clock     host.Clock
	confirmed atomic.Int64  // when, by the clock, in nanoseconds
	asking    chan struct{} // holds one token: only one call asks the quorum at a time
}

func newLease(length time.Duration, clock host.Clock) *lease {
	l := &lease{length: length, clock: clock, asking: make(chan struct{}, 1)}
	l.confirm(clock.Monotonic() - length)
	return l
}

// confirm notes that a quorum answered something that was sent at that moment.
func (l *lease) confirm(sent time.Duration) { l.confirmed.Store(int64(sent)) }

func (l *lease) fresh() bool {
	return l.clock.Monotonic()-time.Duration(l.confirmed.Load()) < l.length
}

// hold reports whether the lease is fresh, after asking the quorum if it is not.
func (l *lease) hold(ctx context.Context, n *Node) bool {
	if l.fresh() {
		return true
	}
	select {
	case l.asking <- struct{}{}:
		defer func() { <-l.asking }()
	case <-ctx.Done():
		return false
	}
	if l.fresh() { // somebody else asked
		return true
	}
	sent := l.clock.Monotonic()
	if err := n.await(ctx, n.raft.VerifyLeader()); err != nil {
		return false
	}
	l.confirm(sent)
	return true
}

// await waits for raft to answer, until ctx ends. When raft is stopped it leaves
// futures without an answer that it held (such as entries that were committed and
// are on their way to the state machine); await then gives up with
// raft.ErrRaftShutdown.
func (n *Node) await(ctx context.Context, f raft.Future) error {
	n.endWithRaft(f)
	answered := make(chan error, 1)
	go func() { answered <- f.Error() }()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.aborted:
		return raft.ErrRaftShutdown
	}
}

// endWithRaft makes a future that is never answered end with the node, so that
// nobody waits for it for ever. raft has a field for that in all its futures, and sets
// it in some.
func (n *Node) endWithRaft(f raft.Future) {
	v := reflect.ValueOf(f)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return // it has its answer
	}
	if field := v.Elem().FieldByName("ShutdownCh"); field.CanSet() && field.IsNil() && field.Type() == reflect.TypeOf(n.aborted) {
		field.Set(reflect.ValueOf(n.aborted))
	}
}
