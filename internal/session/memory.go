package session

import (
	"time"

	"github.com/semanode/sema"
)

// memory is what a Session knows of one name.
type memory struct {
	held    hold
	unknown []acquire // in the order in which they became unknown
}

// hold is what an acquire was granted. Token 0 is no hold.
type hold struct {
	token uint64
	lane  *lane // of the attempt that acquired it
	// releasing: a release was sent and its answer was lost. If the hold turns
	// out to be gone, that is what ended it, as far as its owner cares.
	releasing bool
}

// acquire is an attempt with what it asks for. It is in a memory while its
// outcome is unknown and no call is busy with it.
type acquire struct {
	attempt
	owner   string
	timeout time.Duration
}

// held returns the hold under this name, the zero hold if there is none.
func (s *Session) held(name string) hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[name].held
}

// learn takes notice of an acquire's answer.
func (s *Session) learn(name string, info sema.Info, from *lane) {
	switch info.Status {
	case sema.Acquired:
		s.mu.Lock()
		defer s.mu.Unlock()
		m := s.names[name]
		if info.Token > m.held.token { // answers may overtake each other; tokens rise
			m.held = hold{token: info.Token, lane: from}
			s.names[name] = m
		}
	case sema.ForcedReleased:
		s.forget(name, info.Token) // it may have been this value's own
	}
}

// forget drops the hold if it is still the one with this token: the name may have
// been acquired again meanwhile.
func (s *Session) forget(name string, token uint64) {
	s.change(name, func(m *memory) {
		if m.held.token == token {
			m.held = hold{}
		}
	})
}

// noteRelease remembers that a release of this hold may have taken effect.
func (s *Session) noteRelease(name string, token uint64) {
	s.change(name, func(m *memory) {
		if m.held.token == token && token != 0 {
			m.held.releasing = true
		}
	})
}

// keep puts acquires of unknown outcome where the next call for the name finds
// them.
func (s *Session) keep(name string, as ...acquire) {
	s.change(name, func(m *memory) { m.unknown = append(m.unknown, as...) })
}

// take gives the acquires of unknown outcome to the caller, who must end them or
// keep them again. Nobody else sees them until then.
func (s *Session) take(name string) (held hold, unknown []acquire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.names[name]
	if len(m.unknown) > 0 {
		s.store(name, memory{held: m.held})
	}
	return m.held, m.unknown
}

func (s *Session) change(name string, by func(*memory)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.names[name]
	by(&m)
	s.store(name, m)
}

// store keeps the map as small as what it has to say. s.mu is held.
func (s *Session) store(name string, m memory) {
	if m.held.token == 0 && len(m.unknown) == 0 {
		delete(s.names, name)
		return
	}
	s.names[name] = m
}
