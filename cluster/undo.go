package cluster

import (
	"errors"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// What waiters take back, and when: see there for what they may.

// undo proposes a command, and sees to it that then is called with its answer.
// It is false, and then is not called, if the queue is full.
type undo func(c fsm.Command, then func(r fsm.Result, err error)) bool

// undoAbsent undoes the attempts of those whose time is up.
func (ws *waiters) undoAbsent(now time.Time, propose undo) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, list := range []*[]departure{&ws.gone, &ws.leaving} {
		for range len(*list) { // not those that depart again meanwhile
			d := (*list)[0]
			if d.due.After(now) {
				break
			}
			if w := ws.known[d.id]; w != nil && w.call == nil && w.left.Equal(d.at) && !ws.undo(d.id, w, propose) {
				return
			}
			*list = (*list)[1:]
		}
		if len(*list) == 0 {
			*list = nil // and what it grew to
		}
	}
}

// undo proposes the end of what an attempt has, and forgets it if it has nothing.
// ws.mu is held.
func (ws *waiters) undo(id sema.Attempt, w *waiter, propose undo) bool {
	switch {
	case w.pending > 0: // what it has is not known yet
		ws.depart(id, w, true)
		return true
	case w.granted == 0 && !w.ticket:
		delete(ws.known, id)
		return true
	}
	c := fsm.Command{Kind: fsm.Cancel, Name: w.name, Attempt: id, Token: w.granted}
	left := w.left
	return propose(c, func(r fsm.Result, err error) { ws.undone(id, w, left, c, errors.Join(err, r.Err)) })
}

// undone notes the answer to an undo of who left at that time. It is tried again if
// it failed, or if the ticket was served just before it could be cancelled.
func (ws *waiters) undone(id sema.Attempt, w *waiter, left time.Time, c fsm.Command, err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.known[id] != w {
		return
	}
	switch {
	case err != nil:
	case c.Token == 0:
		w.ticket = false
	case w.granted == c.Token:
		w.granted = 0
	}
	switch {
	case w.call != nil || !w.left.Equal(left): // it was back since
	case w.granted == 0 && !w.ticket:
		delete(ws.known, id)
	default:
		ws.depart(id, w, true)
	}
}

// gracePage is how many tickets are looked at in one go at the end of the grace.
const gracePage = 1024

// undoLost cancels, once the grace has ended, everybody who waited when the office
// began and did not come back. A page at a time, until there are no more.
func (ws *waiters) undoLost(now time.Time, m *fsm.Machine, propose undo) {
	if now.Before(ws.graceEnds) || !ws.inGrace() {
		return
	}
	var page []fsm.Place
	next := m.Tickets(ws.checked, gracePage, func(p fsm.Place) { page = append(page, p) })
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, p := range page {
		if _, served := ws.strays[idOf(p.Attempt)]; served { // since it was read
			ws.checked = p.Number
			continue
		}
		if !ws.adopt(idOf(p.Attempt), &waiter{name: p.Name, ticket: true}, propose) {
			return
		}
		ws.checked = p.Number
	}
	if next != 0 {
		return
	}
	for id, info := range ws.strays {
		if !ws.adopt(id, &waiter{name: info.Name, granted: info.Token}, propose) {
			return
		}
		delete(ws.strays, id)
	}
	ws.came = nil
}

// adopt makes an attempt known that nobody came for, and undoes it. ws.mu is held.
func (ws *waiters) adopt(id sema.Attempt, w *waiter, propose undo) bool {
	if ws.came[id] || ws.known[id] != nil {
		return true
	}
	ws.known[id] = w
	if !ws.undo(id, w, propose) {
		delete(ws.known, id)
		return false
	}
	return true
}

func (ws *waiters) inGrace() bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.came != nil
}
