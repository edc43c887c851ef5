package memnet

import (
	"io"
	"sync"
	"syscall"
	"time"
)

// window is how many bytes may be under way in one direction of a connection.
const window = 256 << 10

// stream is one direction of a connection: what is under way.
type stream struct {
	from, to           *Host
	readable, writable chan struct{} // each holds one token: look again

	mu        sync.Mutex
	pieces    []piece   // in order: none arrives before those in front of it
	size      int       // bytes under way
	abandoned bool      // by the receiver,
	heard     time.Time // of which the sender hears at this time
	dropped   bool      // by the sender's machine
	broken    error     // at both ends
}

type piece struct {
	data []byte
	end  bool // the sender has closed
	due  time.Time
	held *Rule // by which it was held last
}

func newStream(from, to *Host) *stream {
	return &stream{from: from, to: to, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

// poke makes both who read and who write look again.
func (s *stream) poke() {
	signal(s.readable)
	signal(s.writable)
}

// put sends as much of p as there is room for. What nobody will read takes room too,
// until the sender hears of that: at due, if it is known and still to come.
func (s *stream) put(p []byte) (n int, due time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return 0, due, s.broken
	}
	if s.abandoned {
		if now := time.Now(); now.Before(s.heard) {
			due = s.heard
		} else if s.answered() {
			return 0, due, syscall.EPIPE
		}
	}
	if n = min(len(p), window-s.size); n > 0 && !s.abandoned {
		s.send(piece{data: append([]byte(nil), p[:n]...)})
	}
	s.size += n
	return n, due, nil
}

// answered reports whether the receiver's machine hears what is sent, and is heard.
func (s *stream) answered() bool {
	n, from, to := s.from.net, s.from.name, s.to.name
	return !s.from.down.Load() && !s.to.down.Load() && n.blocked(from, to) == nil && n.blocked(to, from) == nil
}

// send is called with mu held.
func (s *stream) send(p piece) {
	p.due = time.Now().Add(s.from.net.delay(s.from.name, s.to.name))
	s.pieces = append(s.pieces, p)
	signal(s.readable)
}

// take receives what has arrived. With nothing there it says when the next piece
// is due, if one is under way.
func (s *stream) take(p []byte) (n int, due time.Time, err error) {
	rule := s.from.net.blocked(s.from.name, s.to.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return 0, due, s.broken
	case rule != nil:
		s.hold(rule)
		return 0, due, nil
	case s.from.down.Load() || s.to.down.Load():
		return 0, due, nil
	case s.dropped:
		return 0, due, syscall.ECONNRESET
	}
	now := time.Now()
	for n < len(p) && len(s.pieces) > 0 && !s.pieces[0].end && !s.pieces[0].due.After(now) {
		first := &s.pieces[0]
		k := copy(p[n:], first.data)
		n += k
		if first.data = first.data[k:]; len(first.data) == 0 {
			*first = piece{}
			s.pieces = s.pieces[1:]
		}
	}
	if n > 0 {
		s.size -= n
		signal(s.writable)
		return n, due, nil
	}
	if len(s.pieces) == 0 {
		return 0, due, nil
	}
	if due = s.pieces[0].due; due.After(now) {
		return 0, due, nil
	}
	return 0, due, io.EOF // it is the end
}

// hold counts the pieces that a rule holds, each once. It is called with mu held.
func (s *stream) hold(rule *Rule) {
	for i := len(s.pieces) - 1; i >= 0 && s.pieces[i].held != rule; i-- { // what comes before was counted
		s.pieces[i].held = rule
		rule.Bitten.Add(1)
	}
}

// finish sends the end and returns when it is there, if nothing holds it up.
func (s *stream) finish() (at time.Time) {
	s.mu.Lock()
	s.send(piece{end: true})
	for _, p := range s.pieces { // it comes after all of them
		if p.due.After(at) {
			at = p.due
		}
	}
	s.mu.Unlock()
	s.poke()
	return at
}

// abandon is the receiver's: what is sent goes nowhere. The sender hears of it when
// the end that the receiver sent is there, so that who reads and who writes hear of
// it together.
func (s *stream) abandon(heard time.Time) {
	s.mu.Lock()
	s.abandoned, s.heard = true, heard
	s.pieces, s.size = nil, 0
	s.mu.Unlock()
	s.poke()
}

// reset is the sender's machine's: what was sent is gone, and nothing will follow.
func (s *stream) reset() {
	s.mu.Lock()
	s.dropped = true
	s.pieces, s.size = nil, 0
	s.mu.Unlock()
	s.poke()
}

func (s *stream) fail(err error) {
	s.mu.Lock()
	if s.broken == nil {
		s.broken = err
	}
	s.pieces, s.size = nil, 0
	s.mu.Unlock()
	s.poke()
}
