package cluster

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// waiters is what the leader knows of those who wait in line, beside what the
// log says: whether anybody is still there to be told. A ticket whose client is
// gone is cancelled by an entry, after a while in which the client may come back
// with the same attempt.
//
// A cancellation is put into the proposer's queue while mu is held, and so is
// known before or after each call that enters: one that enters after it is
// decided after it, and one that entered before it prevents it. So nobody is
// cancelled who was told that the semaphore is theirs.
type waiters struct {
	linger time.Duration

	mu    sync.Mutex
	known map[attemptID]*waiter
	// watching are the lines in which somebody wants to know their place, each
	// with how many do.
	watching map[string]int
	// gone are those who left for good, leaving those who may come back, in the
	// order in which their time is up. Who came back, or left again, is passed over.
	gone, leaving []departure
	// graceEnds is when those are cancelled who waited when the office began and
	// have not come back. Until then came has everybody who was here in this
	// office, and then it is nil. strays are grants to those who were not, by name.
	graceEnds time.Time
	came      map[attemptID]bool
	strays    map[attemptID]string
	checked   uint64 // number of the last ticket that was looked at since graceEnds
}

type attemptID struct {
	client sema.ClientID
	seq    uint64
}

func idOf(a sema.Attempt) attemptID { return attemptID{a.Client, a.Seq} }

func (id attemptID) attempt() sema.Attempt { return sema.Attempt{Client: id.client, Seq: id.seq} }

// waiter is somebody who waits, or has just left.
type waiter struct {
	name string
	call *waitCall // nil: away
	left time.Time // if away
}

type departure struct {
	id  attemptID
	at  time.Time // when the waiter left; another time in the waiter means that it was back since
	due time.Time
}

// errSuperseded ends a call whose attempt is waited for by another.
var errSuperseded = errors.New("another call waits for the same attempt")

// waitCall is a call that waits for one answer.
type waitCall struct {
	id        attemptID
	name      string
	answer    chan waitAnswer // has room for the one answer
	positions chan int        // has room for the latest position; nil if nobody asked
}

type waitAnswer struct {
	info sema.Info
	err  error
}

func newWaiters(linger, grace time.Duration) *waiters {
	return &waiters{linger: linger, known: map[attemptID]*waiter{}, watching: map[string]int{}, graceEnds: time.Now().Add(grace),
		came: map[attemptID]bool{}, strays: map[attemptID]string{}}
}

// enter notes a call before its acquire is proposed. A call of the same attempt
// that is still there ends: its client has given up on it.
func (ws *waiters) enter(name string, a sema.Attempt, positions bool) *waitCall {
	call := &waitCall{id: idOf(a), name: name, answer: make(chan waitAnswer, 1)}
	if positions {
		call.positions = make(chan int, 1)
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.arrived(call.id)
	w := ws.known[call.id]
	if w == nil {
		w = new(waiter)
		ws.known[call.id] = w
	}
	if w.call != nil {
		ws.detach(w).answer <- waitAnswer{err: &sema.OutcomeUnknownError{Cause: errSuperseded}}
	}
	w.name, w.call = name, call
	if positions {
		ws.watching[name]++
	}
	return call
}

// detach takes the waiter's call away. ws.mu is held.
func (ws *waiters) detach(w *waiter) *waitCall {
	call := w.call
	w.call = nil
	if call.positions != nil {
		if ws.watching[w.name]--; ws.watching[w.name] == 0 {
			delete(ws.watching, w.name)
		}
	}
	return call
}

// arrived notes that an attempt's client is there. ws.mu is held.
func (ws *waiters) arrived(id attemptID) {
	delete(ws.strays, id)
	if ws.came != nil {
		ws.came[id] = true
	}
}

// asked notes that an attempt which may have a ticket is asked for without
// waiting: its answer must not be taken back.
func (ws *waiters) asked(a sema.Attempt) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.arrived(idOf(a))
	if w := ws.known[idOf(a)]; w != nil && w.call == nil {
		delete(ws.known, idOf(a))
	}
}

// done notes that a call has its answer.
func (ws *waiters) done(call *waitCall) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w := ws.known[call.id]; w != nil && w.call == call {
		ws.detach(w)
		delete(ws.known, call.id)
	}
}

// leave notes that a call ended without an answer. Unless its client comes back
// within the linger, or has said that it will not, its attempt is undone.
func (ws *waiters) leave(call *waitCall, forGood bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[call.id]
	if w == nil || w.call != call {
		return // it has its answer, or another call
	}
	ws.detach(w)
	w.left = time.Now()
	d := departure{id: call.id, at: w.left, due: w.left}
	if forGood {
		ws.gone = append(ws.gone, d)
		return
	}
	d.due = d.due.Add(ws.linger)
	ws.leaving = append(ws.leaving, d)
}

// granted tells whoever the hold went to. If nobody is there, the time to come
// back for it runs already; if nobody was there in this office, it runs until the
// grace ends.
func (ws *waiters) granted(g *fsm.Grant) {
	id := idOf(g.Attempt)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	switch w := ws.known[id]; {
	case w != nil && w.call != nil:
		ws.detach(w).answer <- waitAnswer{info: g.Info}
		delete(ws.known, id)
	case w == nil && ws.came != nil && !ws.came[id]:
		ws.strays[id] = g.Info.Name
	}
}

// cancelled tells a call whose attempt was undone by its own client.
func (ws *waiters) cancelled(a sema.Attempt) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[idOf(a)]
	if w == nil {
		return
	}
	delete(ws.known, idOf(a))
	if w.call != nil {
		ws.detach(w).answer <- waitAnswer{err: sema.ErrAttemptFinished}
	}
}

// cancelAbsent cancels, through undo, those whose time is up. undo puts a
// cancellation into the queue and is false if that is full: the rest must wait.
func (ws *waiters) cancelAbsent(now time.Time, undo func(name string, a sema.Attempt) bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, list := range []*[]departure{&ws.gone, &ws.leaving} {
		for len(*list) > 0 && !(*list)[0].due.After(now) {
			d := (*list)[0]
			if w := ws.known[d.id]; w != nil && w.call == nil && w.left.Equal(d.at) {
				if !undo(w.name, d.id.attempt()) {
					return
				}
				delete(ws.known, d.id)
			}
			*list = (*list)[1:]
		}
		if len(*list) == 0 {
			*list = nil // and what it grew to
		}
	}
}

// gracePage is how many tickets are looked at in one go at the end of the grace.
const gracePage = 1024

// cancelLost cancels, once the grace has ended, everybody who waited when the
// office began and did not come back. A page at a time, until there are no more.
func (ws *waiters) cancelLost(now time.Time, m *fsm.Machine, undo func(name string, a sema.Attempt) bool) {
	if now.Before(ws.graceEnds) || !ws.inGrace() {
		return
	}
	var page []fsm.Place
	next := m.Tickets(ws.checked, gracePage, func(p fsm.Place) { page = append(page, p) })
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, p := range page {
		if !ws.came[idOf(p.Attempt)] && !undo(p.Name, p.Attempt) {
			return
		}
		ws.checked = p.Number
	}
	if next != 0 {
		return
	}
	for id, name := range ws.strays {
		if !undo(name, id.attempt()) {
			return
		}
		delete(ws.strays, id)
	}
	ws.came = nil
}

func (ws *waiters) inGrace() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.came != nil
}

// watched are the lines in which somebody wants to know their place, each with
// how many do.
func (ws *waiters) watched() map[string]int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return maps.Clone(ws.watching)
}

// tell tells those who want to know their places, and returns how many did.
func (ws *waiters) tell(places []fsm.Place) (told int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, p := range places {
		w := ws.known[idOf(p.Attempt)]
		if w == nil || w.call == nil || w.call.positions == nil {
			continue
		}
		told++
		select {
		case <-w.call.positions: // it was not taken; the latest is what counts
		default:
		}
		w.call.positions <- p.Position
	}
	return told
}
