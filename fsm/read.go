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
	return View{Held: true, Token: h.token, Deadline: h.deadline, Info: m.state.info(sema.OwnedBySomeoneElse, name, h)}
}

// Clock returns cluster time as of the last entry applied.
func (m *Machine) Clock() Time {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state.clock
}

// List returns up to limit holds of semaphores whose names start with prefix
// and are above after, in ascending order of name, and whether there are more.
func (m *Machine) List(prefix, after string, limit int) (infos []sema.Info, more bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	m.state.semaphores.ascend(max(prefix, after), func(name string, s *semaphore) bool {
		switch {
		case name == after:
			return true
		case !strings.HasPrefix(name, prefix):
			return false
		case len(infos) >= limit:
			more = true
			return false
		}
		for i := range s.holders {
			infos = append(infos, m.state.info(sema.OwnedBySomeoneElse, name, &s.holders[i]))
		}
		return true
	})
	return infos, more
}

// Deadline is when a hold becomes overdue.
type Deadline struct {
	Name  string
	Token uint64
	At    Time
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
			visit(Deadline{Name: name, Token: s.holders[i].token, At: s.holders[i].deadline})
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

// DeadlineOf returns when the hold becomes overdue, if it stands.
func (m *Machine) DeadlineOf(name string, token uint64) (Time, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, ok := m.state.semaphores.get(name)
	if !ok {
		return 0, false
	}
	i := s.find(token)
	if i < 0 {
		return 0, false
	}
	return s.holders[i].deadline, true
}
