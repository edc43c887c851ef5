package cluster

import (
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// waiters is what the leader knows of those who wait in line, beside what the log
// says: whether anybody is still there to be told. When a client is gone, it has a
// while to come back with the same attempt; then its ticket is cancelled, or what
// it was granted meanwhile is released.
//
// Nothing may be taken back from somebody who was told that it is theirs. So the
// leader takes back what it knows was granted while, or just before, nobody was
// there; it puts that into the proposer's queue while mu is held, like the note that
// a call of the same attempt has come: whoever comes before it prevents it, and
// whoever comes after it is decided after it. And the state machine spares a hold
// whose owner has learned of it in another way.
type waiters struct {
	linger time.Duration

	mu    sync.Mutex
	known map[sema.Attempt]*waiter
	// watching are the lines in which somebody wants to know their place, each
	// with how many do.
	watching map[string]int
	// gone are those who left for good, leaving those who may come back, in the
	// order in which their time is up. Who came back, or left again, is passed over.
	gone, leaving []departure
	// graceEnds is when those are cancelled who waited when the office began and
	// have not come back. Until then came has everybody who was here in this
	// office, and then it is nil. strays are grants to those who were not.
	graceEnds time.Time
	came      map[sema.Attempt]bool
	strays    map[sema.Attempt]sema.Info
	checked   uint64 // number of the last ticket that was looked at since graceEnds
}

// idOf is an attempt without what else its client says.
func idOf(a sema.Attempt) sema.Attempt { return sema.Attempt{Client: a.Client, Seq: a.Seq} }

// waiter is an attempt that somebody waits for, or did a moment ago.
type waiter struct {
	name    string
	call    *waitCall // nil: nobody is there
	left    time.Time // if nobody is there
	pending int       // acquires on their way through the log
	ticket  bool      // it may have a ticket
	granted uint64    // the token that it was granted and, as far as is known, not told of, or zero
}

type departure struct {
	id  sema.Attempt
	at  time.Time // when the waiter left; another time in the waiter means that it was back since
	due time.Time
}

// waitCall is a call that waits for one answer.
type waitCall struct {
	id       sema.Attempt
	answer   chan waitAnswer // has room for the one answer
	places   chan sema.Place // has room for the latest place; nil if nobody asked
	position int             // as told last
}

// errSuperseded ends a call whose attempt is waited for by another.
var errSuperseded = errors.New("another call waits for the same attempt")

type waitAnswer struct {
	info sema.Info
	err  error
}

// say gives the call its answer, unless it has one.
func (c *waitCall) say(a waitAnswer) {
	select {
	case c.answer <- a:
	default:
	}
}

func newWaiters(linger, grace time.Duration) *waiters {
	return &waiters{linger: linger, known: map[sema.Attempt]*waiter{}, watching: map[string]int{}, graceEnds: time.Now().Add(grace),
		came: map[sema.Attempt]bool{}, strays: map[sema.Attempt]sema.Info{}}
}

// enter notes a call before its acquire is proposed; decided must follow once that
// is answered. A call of the same attempt that is still there ends: its client has
// given up on it.
func (ws *waiters) enter(name string, a sema.Attempt, positions bool) (*waitCall, error) {
	call := &waitCall{id: idOf(a), answer: make(chan waitAnswer, 1)}
	if positions {
		call.places = make(chan sema.Place, 1)
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[call.id]
	switch {
	case w == nil:
		w = &waiter{name: name}
		ws.known[call.id] = w
	case w.name != name:
		return nil, &sema.InvalidError{Field: "name", Value: name, Limit: "the name that this attempt waits for"}
	case w.call != nil:
		ws.detach(w).say(waitAnswer{err: &sema.OutcomeUnknownError{Cause: errSuperseded}})
	}
	if stray, ok := ws.strays[call.id]; ok {
		w.granted = stray.Token
		delete(ws.strays, call.id)
	}
	if ws.came != nil {
		ws.came[call.id] = true
	}
	w.call = call
	w.pending++
	if positions {
		ws.watching[name]++
	}
	return call, nil
}

// detach takes the waiter's call away. ws.mu is held.
func (ws *waiters) detach(w *waiter) *waitCall {
	call := w.call
	w.call = nil
	if call.places != nil {
		if ws.watching[w.name]--; ws.watching[w.name] == 0 {
			delete(ws.watching, w.name)
		}
	}
	return call
}

// decided notes the answer to an acquire before its call gets it, or does not get
// it any more.
func (ws *waiters) decided(id sema.Attempt, r fsm.Result, err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[id]
	if w == nil {
		return
	}
	w.pending--
	switch {
	case err != nil: // it changed nothing, or the office is over; it may have a ticket from the one before
		w.ticket = w.ticket || ws.came != nil
	case errors.Is(r.Err, sema.ErrAttemptFinished): // as its client said, who may have a ticket all the same
		w.ticket = true
	case r.Ticket != 0:
		w.ticket = true
	case r.Info.Status == sema.Acquired:
		w.granted = r.Info.Token
	}
}

// granted tells whoever the hold went to, if somebody is there.
func (ws *waiters) granted(g *fsm.Grant) {
	id := idOf(g.Attempt)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	switch w := ws.known[id]; {
	case w != nil:
		w.granted, w.ticket = g.Info.Token, false
		if w.call != nil {
			w.call.say(waitAnswer{info: g.Info})
		}
	case ws.came != nil && !ws.came[id]:
		ws.strays[id] = g.Info
	}
}

// done asks, for a call that has its answer, whether it may tell: not if another
// call of the same attempt has come, whose client it may be that has gone. Who was
// allowed to is done.
func (ws *waiters) done(call *waitCall) (mayTell bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[call.id]
	if w == nil || w.call != call {
		return false
	}
	ws.detach(w)
	delete(ws.known, call.id)
	return true
}

// refused notes that a call asked for something that cannot be: it is as if it
// had not come.
func (ws *waiters) refused(call *waitCall) {
	ws.done(call)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.came != nil {
		delete(ws.came, call.id)
	}
}

// leave notes that a call ended without an answer. Unless its client comes back
// within the linger, or has said that it will not, its attempt is undone.
func (ws *waiters) leave(call *waitCall, forGood bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.known[call.id]
	if w == nil || w.call != call {
		return // another call is there
	}
	ws.detach(w)
	if w.pending == 0 && !w.ticket && w.granted == 0 { // it has nothing to come back for
		delete(ws.known, call.id)
		return
	}
	ws.depart(call.id, w, forGood)
}

// depart starts the time in which somebody may come back. ws.mu is held.
func (ws *waiters) depart(id sema.Attempt, w *waiter, forGood bool) {
	w.left = time.Now()
	d := departure{id: id, at: w.left, due: w.left}
	if forGood {
		ws.gone = append(ws.gone, d)
		return
	}
	d.due = d.due.Add(ws.linger)
	ws.leaving = append(ws.leaving, d)
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
		ws.detach(w).say(waitAnswer{err: sema.ErrAttemptFinished})
	}
}

// toldPlace notes that a call was told its place.
func (ws *waiters) toldPlace(call *waitCall, position int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	call.position = position
}

// watched are the lines in which somebody wants to know their place, each with
// how many do.
func (ws *waiters) watched() map[string]int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return maps.Clone(ws.watching)
}

// tell tells those whose places have changed and who want to know, and returns
// how many want to.
func (ws *waiters) tell(holder sema.Info, places []fsm.Place) (watching int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, p := range places {
		w := ws.known[idOf(p.Attempt)]
		if w == nil || w.call == nil || w.call.places == nil {
			continue
		}
		watching++
		if w.call.position == p.Position {
			continue
		}
		w.call.position = p.Position
		select {
		case <-w.call.places: // it was not taken; the latest is what counts
		default:
		}
		w.call.places <- sema.Place{Position: p.Position, Holder: holder}
	}
	return watching
}
