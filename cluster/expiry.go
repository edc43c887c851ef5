package cluster

import (
	"container/heap"
	"sync"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// expiry is the leader's heap of deadlines: which hold becomes overdue next. It
// is made anew from the state when the leader takes office, and kept up to date
// from the answers to its entries. It only ever suggests: the state machine
// checks token and deadline again.
//
// A touch does not move its hold in the heap, which would cost O(log n) for the
// most frequent command; a hold that comes up is put back if it was touched.
type expiry struct {
	mu      sync.Mutex
	heap    deadlineHeap
	byToken map[uint64]*deadline
}

// deadline is a hold in the heap, at the deadline it had when it was put there.
type deadline struct {
	fsm.Deadline
	index int
}

func newExpiry() *expiry { return &expiry{byToken: map[uint64]*deadline{}} }

// add puts a hold into the heap, or moves it.
func (e *expiry) add(d fsm.Deadline) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.byToken[d.Token]; known != nil {
		known.At = d.At
		heap.Fix(&e.heap, known.index)
		return
	}
	item := &deadline{Deadline: d}
	e.byToken[d.Token] = item
	heap.Push(&e.heap, item)
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

// observe keeps the heap in step with the answer to a command.
func (e *expiry) observe(c *fsm.Command, r fsm.Result) {
	switch {
	case r.Ended != 0:
		e.remove(r.Ended)
	case c.Kind == fsm.Acquire && r.Info.Status == sema.Acquired:
		e.add(fsm.Deadline{Name: c.Name, Token: r.Info.Token, At: r.Deadline})
	}
}

// expiryPage is how many semaphores are read at a time when the heap is made.
const expiryPage = 1024

// sweepBatch bounds the expiries proposed at one tick.
const sweepBatch = 256

// watchDeadlines makes the heap and then, until the office ends, ends holds that
// have been overdue for the retention time and that nobody asked for.
func (o *office) watchDeadlines() {
	for next, more := "", true; more && o.ctx.Err() == nil; more = next != "" {
		next = o.node.machine.Deadlines(next, expiryPage, o.expiry.add)
	}
	ticker := time.NewTicker(clockTick)
	defer ticker.Stop()
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-ticker.C:
			if o.clock.mayExpire() {
				o.sweep(o.clock.now())
			}
		}
	}
}

func (o *office) sweep(now fsm.Time) {
	retention := o.node.cfg.OverdueRetention
	for _, d := range o.expiry.due(now.Add(-retention), sweepBatch) {
		at, stands := o.node.machine.DeadlineOf(d.Name, d.Token)
		if !stands {
			continue
		}
		// Back it goes in any case: to be looked at again if it was touched, if the
		// queue is full, or if the expiry finds it touched. The answer takes it out.
		o.expiry.add(fsm.Deadline{Name: d.Name, Token: d.Token, At: max(at, now.Add(-retention+time.Second))})
		if at.Add(retention) <= now {
			// A full queue is no error here: the next tick comes.
			_ = o.enqueue(newProposal(fsm.Command{Kind: fsm.Expire, Name: d.Name, Token: d.Token, Deadline: at}))
		}
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
