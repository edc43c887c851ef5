package cluster

import (
	"container/heap"
	"sync"
	"time"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/sabotage"
)

// expiry is the leader's heap of deadlines: which hold becomes overdue next. It
// is made anew from the state when the leader takes office, and kept up to date
// from the answers to its entries. It only ever suggests: the state machine
// checks token and deadline again.
//
// A touch does not move its hold in the heap, which would cost O(log n) for the
// most frequent command; a hold that comes up is put back if it was touched.
type expiry struct {
	sooner chan struct{} // holds one token: what comes next has changed

	mu      sync.Mutex
	heap    deadlineHeap
	byToken map[uint64]*deadline
}

// deadline is a hold in the heap, at the deadline it had when it was put there.
type deadline struct {
	fsm.Deadline
	index int
}

func newExpiry() *expiry {
	return &expiry{sooner: make(chan struct{}, 1), byToken: map[uint64]*deadline{}}
}

// add puts a hold into the heap, or moves it.
func (e *expiry) add(d fsm.Deadline) {
	e.mu.Lock()
	defer e.mu.Unlock()
	item := e.byToken[d.Token]
	if item != nil {
		item.At = d.At
		heap.Fix(&e.heap, item.index)
	} else {
		item = &deadline{Deadline: d}
		e.byToken[d.Token] = item
		heap.Push(&e.heap, item)
	}
	if item.index == 0 {
		select {
		case e.sooner <- struct{}{}:
		default:
		}
	}
}

// next returns when the first hold comes up, if there is one.
func (e *expiry) next() (at fsm.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.heap) == 0 {
		return 0, false
	}
	return e.heap[0].At, true
}

func (e *expiry) remove(token uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if item := e.byToken[token]; item != nil {
		delete(e.byToken, token)
		heap.Remove(&e.heap, item.index)
	}
}

// due takes out up to limit holds that came up before now.
func (e *expiry) due(now fsm.Time, limit int) []fsm.Deadline {
	e.mu.Lock()
	defer e.mu.Unlock()
	var up []fsm.Deadline
	for len(e.heap) > 0 && len(up) < limit && e.heap[0].At <= now {
		item := heap.Pop(&e.heap).(*deadline)
		delete(e.byToken, item.Token)
		up = append(up, item.Deadline)
	}
	return up
}

// expiryPage is how many semaphores are read at a time when the heap is made.
const expiryPage = 1024

// sweepBatch bounds the expiries proposed in one go.
const sweepBatch = 256

// watchDeadlines makes the heaps and then, until the office ends, ends holds that
// somebody waits for at their deadline, and holds that have been overdue for the
// retention time and that nobody asked for.
func (o *office) watchDeadlines() {
	for next, more := "", true; more && o.ctx.Err() == nil; more = next != "" {
		next = o.node.machine.Deadlines(next, expiryPage, func(d fsm.Deadline) {
			o.expiry.add(d)
			if d.Waiting {
				o.awaited.add(d)
			}
		})
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-timer.C:
		case <-o.awaited.sooner:
		}
		wait := clockTick
		if o.clock.mayExpire() && !sabotage.On(sabotage.NoExpiry) {
			o.endOverdue(o.awaited, 0, func(d fsm.Deadline) bool { return d.Waiting })
			o.endOverdue(o.expiry, o.node.cfg.OverdueRetention, func(fsm.Deadline) bool { return true })
			wait = o.untilNext()
		}
		timer.Reset(wait)
	}
}

// untilNext is how long nothing is due, a tick at most: that is how often the
// clock wants to be looked at.
func (o *office) untilNext() time.Duration {
	at, ok := o.awaited.next()
	if !ok {
		return clockTick
	}
	return min(clockTick, max(time.Millisecond, time.Duration(at-o.clock.now())))
}

// endOverdue proposes the end of holds that are overdue for as long as retention,
// as far as they stand and are wanted to end.
func (o *office) endOverdue(from *expiry, retention time.Duration, wanted func(fsm.Deadline) bool) {
	now := o.clock.now()
	for _, up := range from.due(now.Add(-retention), sweepBatch) {
		d, stands := o.node.machine.DeadlineOf(up.Name, up.Token)
		if !stands || !wanted(d) {
			continue
		}
		if d.At.Add(retention) > now { // it was touched
			from.add(d)
			continue
		}
		// The answer takes it out again. If the queue is full, or the expiry finds it
		// touched, its time comes again.
		again := d
		again.At = now.Add(time.Second - retention)
		from.add(again)
		_ = o.enqueue(newProposal(fsm.Command{Kind: fsm.Expire, Name: d.Name, Token: d.Token, Deadline: d.At}))
	}
}

// deadlineHeap implements heap.Interface.
type deadlineHeap []*deadline

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].At < h[j].At }
func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *deadlineHeap) Push(x any) {
	item := x.(*deadline)
	item.index = len(*h)
	*h = append(*h, item)
}

// Pop implements heap.Interface.
func (h *deadlineHeap) Pop() any {
	old := *h
	item := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return item
}
