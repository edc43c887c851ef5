package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/sabotage"
)

// office is one term as leader, from taking over to being deposed. Its
// goroutines are the proposer and the watchers of deadlines and of lines.
type office struct {
	node   *Node
	term   uint64
	clock  *clock
	lease  *lease
	began  time.Time // by the host's wall clock
	expiry *expiry   // of all holds
	// awaited are the holds that somebody waits in line for: these end at their
	// deadline, the others when they are in the way or were forgotten.
	awaited *expiry
	waiters *waiters
	level   atomic.Int32 // of the members, up to which commands are proposed
	queue   chan *proposal
	queued  atomic.Int64  // commands in queue
	wakeAt  atomic.Int64  // how many of them the proposer waits for
	enough  chan struct{} // holds one token: so many there are
	ctx     context.Context
	ended   chan struct{} // closed when the proposer has answered all that it took
}

// lead takes and leaves office as raft says, until ctx ends.
func (n *Node) lead(ctx context.Context) {
	leave := func() {}
	defer func() { leave() }()
	for {
		select {
		case <-ctx.Done():
			return
		case leading := <-n.raft.LeaderCh():
			// The channel keeps the latest value only: true after true is a new term.
			leave()
			leave = func() {}
			if leading {
				leave = n.takeOffice(ctx)
			}
		}
	}
}

// takeOffice starts a term of office beside the caller and returns what ends it
// and waits.
func (n *Node) takeOffice(ctx context.Context) (leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { n.serveTerm(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// serveTerm is a term of office.
func (n *Node) serveTerm(ctx context.Context) {
	o, err := n.openOffice(ctx)
	if err != nil {
		return // deposed again, or stopping; raft says so through LeaderCh
	}
	n.office.Store(o)
	n.watcher.wake()
	n.log.Info("leading", "term", o.term, "clusterTime", time.Duration(o.clock.base).String())
	var wg sync.WaitGroup
	wg.Go(o.propose)
	wg.Go(o.watchDeadlines)
	wg.Go(o.watchLines)
	wg.Go(o.promote)
	wg.Go(o.survey)
	if n.meters.on {
		wg.Go(o.census)
	}
	<-ctx.Done()
	n.office.CompareAndSwap(o, nil)
	wg.Wait()
	n.log.Info("no longer leading", "term", o.term)
}

// openOffice waits until everything that was committed before is applied, so
// that cluster time goes on from where the last leader left it: while there was
// no leader, no hold grew older. An entry of its own then says what the wall
// clock shows now.
func (n *Node) openOffice(ctx context.Context) (*office, error) {
	for {
		err := n.await(ctx, n.raft.Barrier(enqueueTimeout))
		if err == nil {
			base := n.machine.Clock()
			if sabotage.On(sabotage.WallClock) {
				base = fsm.Time(n.cfg.Host.Clock.Wall().UnixNano())
			}
			if sabotage.On(sabotage.TimeTaken) {
				base = base.Add(n.cfg.ElectionTimeout)
			}
			o := &office{
				node: n,
				// If this node was deposed and elected again since the barrier, entries carry
				// a later term than this and the state machine ignores their stamps.
				term:    n.raft.CurrentTerm(),
				clock:   newClock(base, n.cfg.Host.Clock),
				began:   n.cfg.Host.Clock.Wall(),
				lease:   newLease(n.leaseTimeout(), n.cfg.Host.Clock),
				expiry:  newExpiry(),
				awaited: newExpiry(),
				waiters: newWaiters(n.cfg.WaiterLinger, n.cfg.WaiterGrace),
				queue:   make(chan *proposal, queueLength),
				enough:  make(chan struct{}, 1),
				ctx:     ctx,
				ended:   make(chan struct{}),
			}
			o.wakeAt.Store(never)
			o.level.Store(int32(n.machine.Level()))
			if _, err = o.await(o.launch(nil)); err == nil {
				return o, nil
			}
		}
		busy := errors.Is(err, raft.ErrEnqueueTimeout) || errors.Is(err, sema.ErrOverloaded)
		if !busy || ctx.Err() != nil {
			return nil, err
		}
	}
}

// notLeader is the answer to a call that only the leader can serve.
func (n *Node) notLeader() error { return &sema.NotLeaderError{Leader: n.Leader()} }
