package cluster

import (
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
	byToken map[uint64]uint32 // slots
}

func newExpiry() *expiry {
	return &expiry{sooner: make(chan struct{}, 1), byToken: map[uint64]uint32{}}
}

// add puts a hold into the heap, or moves it.
func (e *expiry) add(d fsm.Deadline) {
	e.mu.Lock()
	defer e.mu.Unlock()
	slot, known := e.byToken[d.Token]
	if known {
		place := int(e.heap.slots.at(slot).place)
		e.heap.settle(place, due{d.At, slot})
	} else {
		slot = e.heap.slots.take(watched{name: d.Name, token: d.Token})
		e.byToken[d.Token] = slot
		e.heap.push(due{d.At, slot})
	}
	if e.heap.order[0].slot == slot {
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
	if len(e.heap.order) == 0 {
		return 0, false
	}
	return e.heap.order[0].at, true
}

func (e *expiry) remove(token uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if slot, known := e.byToken[token]; known {
		e.heap.remove(int(e.heap.slots.at(slot).place))
		e.drop(slot)
	}
}

// due takes out up to limit holds that came up before now.
func (e *expiry) due(now fsm.Time, limit int) []fsm.Deadline {
	e.mu.Lock()
	defer e.mu.Unlock()
	var up []fsm.Deadline
	for len(e.heap.order) > 0 && len(up) < limit && e.heap.order[0].at <= now {
		first := e.heap.order[0]
		e.heap.remove(0)
		hold := e.heap.slots.at(first.slot)
		up = append(up, fsm.Deadline{Name: hold.name, Token: hold.token, At: first.at})
		e.drop(first.slot)
	}
	return up
}

// drop forgets a hold that is no longer in the heap.
func (e *expiry) drop(slot uint32) {
	delete(e.byToken, e.heap.slots.at(slot).token)
	e.heap.slots.give(slot)
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

// deadlineHeap is a binary heap (Williams, 1964). It is made so that the garbage collector
// has little to look at, which would otherwise have a million holds one by one: but for
// names, which the state machine has as well, it is memory without pointers.
type deadlineHeap struct {
	order []due // none before its parent, at (i-1)/2
	slots slots
}

// due is a hold in the heap, at the deadline it had when it was put there.
type due struct {
	at   fsm.Time
	slot uint32
}

func (h *deadlineHeap) push(d due) {
	h.order = append(h.order, d)
	h.settle(len(h.order)-1, d)
}

func (h *deadlineHeap) remove(place int) {
	last := len(h.order) - 1
	moved := h.order[last]
	h.order = h.order[:last]
	if place < last {
		h.settle(place, moved)
	}
}

// settle puts d where it belongs, above or below a place whose hold has gone.
func (h *deadlineHeap) settle(place int, d due) {
	for place > 0 && d.at < h.order[(place-1)/2].at {
		h.put(place, h.order[(place-1)/2])
		place = (place - 1) / 2
	}
	for {
		child := 2*place + 1
		if child+1 < len(h.order) && h.order[child+1].at < h.order[child].at {
			child++
		}
		if child >= len(h.order) || h.order[child].at >= d.at {
			break
		}
		h.put(place, h.order[child])
		place = child
	}
	h.put(place, d)
}

func (h *deadlineHeap) put(place int, d due) {
	h.order[place] = d
	h.slots.at(d.slot).place = uint32(place)
}

// watched is a hold whose deadline is in the heap, at place.
type watched struct {
	name  string
	token uint64
	place uint32
}

// slots are numbered places in memory, in chunks, so that none is ever copied. They are
// as many as there ever were at once.
type slots struct {
	chunks []*[slotChunk]watched
	free   []uint32
}

const slotChunk = 1 << 10

func (s *slots) at(slot uint32) *watched { return &s.chunks[slot/slotChunk][slot%slotChunk] }

// take returns the number of a slot that has w from now on.
func (s *slots) take(w watched) uint32 {
	if len(s.free) == 0 {
		first := uint32(len(s.chunks)) * slotChunk
		s.chunks = append(s.chunks, new([slotChunk]watched))
		for i := range uint32(slotChunk) {
			s.free = append(s.free, first+slotChunk-1-i)
		}
	}
	slot := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	*s.at(slot) = w
	return slot
}

// give gives a slot back.
func (s *slots) give(slot uint32) {
	*s.at(slot) = watched{}
	s.free = append(s.free, slot)
}
