package fsm

import (
	"strings"

	"github.com/semanode/sema"
)

// View is what a leader sees of a semaphore before it decides what to propose.
type View struct {
	Held     bool
	Token    uint64 // of the hold whose deadline comes first
	Deadline Time
	Info     sema.Info
}

// Look returns this node's own state of a semaphore, which on a node that does
// not lead may be behind. held by fewer than its permits is not Held.
func (m *Machine) Look(name string) View {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.state.semaphores.get(name)
	if !ok || s.free() {
		return View{}
	}
	h := s.soonest()
	return View{Held: true, Token: h.token, Deadline: h.deadline, Info: m.state.info(sema.OwnedBySomeoneElse, s, h)}
}

// Show returns who holds a semaphore and the first in its line, at most limit,
// as they are at one moment.
func (m *Machine) Show(name string, limit int) (info sema.Info, line []sema.Ticket, held bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.state.semaphores.get(name)
	if !ok {
		return sema.Info{}, nil, false
	}
	return m.state.info(sema.OwnedBySomeoneElse, s, s.soonest()), s.line.show(limit), true
}

// show returns the first in the line, at most limit.
func (l *line) show(limit int) []sema.Ticket {
	var shown []sema.Ticket
	for t := l.first; t != nil && len(shown) < limit; t = t.behind {
		shown = append(shown, sema.Ticket{Position: len(shown) + 1, Owner: t.owner, Since: timeOf(t.since)})
	}
	return shown
}

// Clock returns cluster time as of the last entry applied.
func (m *Machine) Clock() Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state.clock
}

// Counts is how much a state holds.
type Counts struct {
	Holds   int // semaphores that are held; none has more than one permit
	Tickets int // places in all lines
	Clock   Time
}

// Counts returns how much this node's own state holds, in O(1).
func (m *Machine) Counts() Counts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Counts{Holds: m.state.semaphores.len(), Tickets: len(m.state.tickets.byAttempt), Clock: m.state.clock}
}

// Page is a part of a list.
type Page struct {
	Infos []sema.Info
	// Lines has the first in the line of each semaphore above that has one.
	Lines map[string][]sema.Ticket
	// More is true if the list goes on after the last name.
	More bool
}

// List returns holds of semaphores whose names start with prefix and are above
// after, in ascending order of name, each with up to line tickets of its line.
// Holds and tickets together are not many more than limit: the last semaphore's
// holds are always complete, its line is cut short.
func (m *Machine) List(prefix, after string, limit, line int) Page {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var page Page
	left := limit
	m.state.semaphores.ascend(max(prefix, after), func(name string, s *semaphore) bool {
		switch {
		case name == after:
			return true
		case !strings.HasPrefix(name, prefix):
			return false
		case left <= 0:
			page.More = true
			return false
		}
		for i := range s.holders {
			page.Infos = append(page.Infos, m.state.info(sema.OwnedBySomeoneElse, s, &s.holders[i]))
		}
		left -= len(s.holders)
		if shown := s.line.show(min(line, left)); len(shown) > 0 {
			if page.Lines == nil {
				page.Lines = map[string][]sema.Ticket{}
			}
			page.Lines[name] = shown
			left -= len(shown)
		}
		return true
	})
	return page
}

// Deadline is when a hold becomes overdue.
type Deadline struct {
	Name  string
	Token uint64
	At    Time
	// Waiting is true if somebody waits in line for the hold to end.
	Waiting bool
}

// Deadlines visits the holds of up to limit semaphores with names above after,
// and returns the name to go on after, or "" at the end. No entry is applied
// while visit runs, and visit must not call the machine.
func (m *Machine) Deadlines(after string, limit int, visit func(Deadline)) (next string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := 0
	m.state.semaphores.ascend(after, func(name string, s *semaphore) bool {
		if name == after {
			return true
		}
		for i := range s.holders {
			visit(s.deadline(i))
		}
		next = name
		n++
		return n < limit
	})
	if n < limit {
		return ""
	}
	return next
}

func (s *semaphore) deadline(i int) Deadline {
	h := &s.holders[i]
	return Deadline{Name: s.name, Token: h.token, At: h.deadline, Waiting: s.line.length > 0}
}

// DeadlineOf returns when the hold becomes overdue, if it stands.
func (m *Machine) DeadlineOf(name string, token uint64) (Deadline, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.state.semaphores.get(name)
	if !ok {
		return Deadline{}, false
	}
	i := s.find(token)
	if i < 0 {
		return Deadline{}, false
	}
	return s.deadline(i), true
}

// Place is a ticket as the leader sees it, who must know whether its client is
// still there.
type Place struct {
	Number   uint64
	Name     string
	Attempt  sema.Attempt // Client and Seq only
	Position int          // in its line, 1 is next; only Line tells
}

func (t *ticket) place() Place {
	return Place{Number: t.number, Name: t.name, Attempt: sema.Attempt{Client: t.attempt.client, Seq: t.attempt.seq}}
}

// Tickets visits up to limit tickets of all lines with numbers above after, and
// returns the number to go on after, or 0 at the end. No entry is applied while
// visit runs, and visit must not call the machine.
func (m *Machine) Tickets(after uint64, limit int, visit func(Place)) (next uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := 0
	m.state.tickets.byNumber.Ascend(row[uint64, *ticket]{key: after + 1}, func(r row[uint64, *ticket]) bool {
		visit(r.value.place())
		next = r.key
		n++
		return n < limit
	})
	if n < limit {
		return 0
	}
	return next
}

// Line visits up to limit places of a semaphore's line behind after, the zero
// Place for its head, and returns the hold that stands before it, the last place
// visited and whether there are more. If after has left the line by now, nobody can
// tell who is behind it, and there are no more: begin anew.
func (m *Machine) Line(name string, after Place, limit int, visit func(Place)) (holder sema.Info, last Place, more bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.state.semaphores.get(name)
	if !ok {
		return sema.Info{}, Place{}, false
	}
	t := s.line.first
	if after.Number != 0 {
		before := m.state.tickets.byAttempt[idOf(after.Attempt)]
		if before == nil || before.number != after.Number {
			return sema.Info{}, Place{}, false
		}
		t = before.behind
	}
	for last = after; t != nil && limit > 0; t, limit = t.behind, limit-1 {
		position := last.Position + 1
		last = t.place()
		last.Position = position
		visit(last)
	}
	return m.state.info(sema.OwnedBySomeoneElse, s, s.soonest()), last, t != nil
}
