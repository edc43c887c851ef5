package fsm

import (
	"time"

	"github.com/semanode/sema"
)

// semaphore is a name that somebody holds. One that nobody holds is not kept.
type semaphore struct {
	name    string
	permits uint32
	holders []hold // in the order of their grants, at most permits
	line    line   // of those who wait; empty unless all permits are held
	// epoch of the last change, of [history]: whoever changes the semaphore tells it
	// before.
	epoch uint64
}

// hold is one owner's permit under one token.
type hold struct {
	token    uint64
	owner    string
	timeout  time.Duration
	deadline Time
	created  int64 // wall clock
	updated  int64 // wall clock
	client   sema.ClientID
	seq      uint64
	// claimed: its owner was told of it, or may have been, since it was granted: it was
	// touched, or its attempt was repeated. A Cancel spares it then.
	claimed bool
	account *account // nil: nobody's; a capture reads its name only, which never changes
}

func (h *hold) overdue(now Time) bool { return h.deadline <= now }

// newSemaphore has room for one holder in the same allocation, which is all
// that a mutex needs.
func newSemaphore(name string, permits uint32, epoch uint64) *semaphore {
	s := &struct {
		semaphore
		first [1]hold
	}{semaphore: semaphore{name: name, permits: permits, epoch: epoch}}
	s.holders = s.first[:0]
	return &s.semaphore
}

func (s *semaphore) free() bool { return len(s.holders) < int(s.permits) }

// find returns the index of the hold with this token, or -1.
func (s *semaphore) find(token uint64) int {
	for i := range s.holders {
		if s.holders[i].token == token {
			return i
		}
	}
	return -1
}

// findAttempt returns the index of the hold that this attempt was granted, or -1.
// The zero value of a client is nobody's.
func (s *semaphore) findAttempt(a sema.Attempt) int {
	if a.Client.IsZero() {
		return -1
	}
	for i := range s.holders {
		if s.holders[i].client == a.Client && s.holders[i].seq == a.Seq {
			return i
		}
	}
	return -1
}

// soonest is the holder whose deadline comes first: the one that stands in the
// way of an acquire. There must be one.
func (s *semaphore) soonest() *hold {
	first := &s.holders[0]
	for i := range s.holders[1:] {
		if h := &s.holders[i+1]; h.deadline < first.deadline {
			first = h
		}
	}
	return first
}
