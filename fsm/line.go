package fsm

import (
	"time"

	"github.com/semanode/sema"
)

// ticket is a place in a semaphore's line: an acquire that waits. Snapshots
// share tickets: but for the links, which they do not read, nothing in one is
// ever changed.
type ticket struct {
	number  uint64 // rises over the whole cluster, so it orders every line
	name    string
	owner   string
	timeout time.Duration
	since   int64 // wall clock
	attempt attemptID
	account *account // nil: nobody's

	ahead, behind *ticket // neighbours in the line
}

// attemptID names an attempt without what else its client says.
type attemptID struct {
	client sema.ClientID
	seq    uint64
}

func idOf(a sema.Attempt) attemptID { return attemptID{a.Client, a.Seq} }

// lowestBeside is the lowest attempt that can still be open beside this one. A
// client that was forgotten while its ticket stood is made anew with it: what it
// last said itself is not lower.
func (a attemptID) lowestBeside() uint64 { return a.seq - min(a.seq, sema.MaxOpenAttempts-1) }

// line is who waits for a semaphore, first come, first served. It is a linked
// list, so that joining, leaving from anywhere and being served cost O(1).
type line struct {
	first, last *ticket
	length      int
}

func (l *line) join(t *ticket) {
	t.ahead = l.last
	if l.last == nil {
		l.first = t
	} else {
		l.last.behind = t
	}
	l.last = t
	l.length++
}

func (l *line) leave(t *ticket) {
	if t.ahead == nil {
		l.first = t.behind
	} else {
		t.ahead.behind = t.behind
	}
	if t.behind == nil {
		l.last = t.ahead
	} else {
		t.behind.ahead = t.ahead
	}
	t.ahead, t.behind = nil, nil
	l.length--
}

// tickets are those of all lines, for snapshots in the order of their numbers
// and for retries by attempt.
type tickets struct {
	last      uint64 // the highest number given out
	byNumber  rows[uint64, *ticket]
	byAttempt map[attemptID]*ticket
}

func newTickets() tickets {
	return tickets{
		byNumber:  newRows(func(a, b row[uint64, *ticket]) bool { return a.key < b.key }),
		byAttempt: map[attemptID]*ticket{},
	}
}

// enqueue puts a ticket at the end of the semaphore's line.
func (st *state) enqueue(s *semaphore, t *ticket) {
	st.tickets.byNumber.Set(row[uint64, *ticket]{t.number, t})
	st.tickets.byAttempt[t.attempt] = t
	s.line.join(t)
	st.accounts.add(t.account, 0, 1)
}

// dequeue takes a ticket out of the line, wherever it stands.
func (st *state) dequeue(s *semaphore, t *ticket) {
	st.tickets.byNumber.Delete(row[uint64, *ticket]{key: t.number})
	delete(st.tickets.byAttempt, t.attempt)
	s.line.leave(t)
	st.accounts.add(t.account, 0, -1)
}
