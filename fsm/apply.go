package fsm

import (
	"fmt"
	"strconv"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/sabotage"
)

// apply carries out one command at the clock as it stands.
func (st *state) apply(c *Command) Result {
	switch c.Kind {
	case Acquire:
		return st.acquire(c)
	case Touch:
		return st.touch(c)
	case Release:
		return st.release(c)
	case Expire:
		return st.expire(c)
	case ForceRelease:
		return st.forceRelease(c)
	case Query:
		return st.query(c)
	case Cancel:
		return st.cancel(c)
	}
	panic("fsm: command of kind " + strconv.Itoa(int(c.Kind)) + " got past the decoder")
}

// acquire decides an attempt, once.
func (st *state) acquire(c *Command) Result {
	if err := sema.Validate(c.Name, c.Owner, c.Timeout); err != nil {
		return Result{Err: err}
	}
	if c.Attempt.Client.IsZero() || retryIsNew(c) {
		r, _ := st.decide(c)
		return r
	}
	client := st.clients.heard(c.Attempt, &st.history)
	if err := admit(client, c.Attempt); err != nil {
		return Result{Err: err}
	}
	if o, ok := client.outcome(c.Attempt.Seq); ok {
		return st.repeat(c, o)
	}
	if t := st.tickets.byAttempt[idOf(c.Attempt)]; t != nil {
		return st.queued(c, t)
	}
	r, ended := st.decide(c)
	if r.Err == nil && r.Ticket == 0 { // it is decided
		client.record(outcome{seq: c.Attempt.Seq, status: r.Info.Status, token: r.granted(), ended: ended})
	}
	return r
}

// retryIsNew reports whether nobody remembers attempts, which is so in no build that
// anybody runs.
func retryIsNew(c *Command) bool { return sabotage.On(sabotage.RetryAcquires) && !c.Wait }

// granted is the token that this answer grants, or zero.
func (r Result) granted() uint64 {
	if r.Info.Status != sema.Acquired {
		return 0
	}
	return r.Info.Token
}

// admit refuses duplicates of finished attempts, and attempts that would make
// the client's record grow beyond its bound.
func admit(c *client, a sema.Attempt) error {
	switch {
	case a.Seq == 0:
		return &sema.InvalidError{Field: "attempt.seq", Value: "0", Limit: "1 or more"}
	case c.finished(a.Seq):
		return sema.ErrAttemptFinished
	case a.Seq-c.lowestOpen >= sema.MaxOpenAttempts:
		return &sema.InvalidError{Field: "attempt.seq", Value: strconv.FormatUint(a.Seq, 10),
			Limit: fmt.Sprintf("less than %d above the lowest open one, %d", sema.MaxOpenAttempts, c.lowestOpen)}
	}
	return nil
}

// decide answers an acquire. If it ended an overdue hold, it returns that too.
func (st *state) decide(c *Command) (Result, *hold) {
	s, held := st.semaphores.get(c.Name)
	if c.Token != 0 && !c.Wait {
		return st.decideOverdue(c, s)
	}
	if !held {
		if err := st.roomForHold(c, true); err != nil {
			return Result{Err: err}, nil
		}
		s = newSemaphore(c.Name, 1, st.history.epoch)
		st.semaphores.set(c.Name, s)
		return st.grantTo(c, s), nil
	}
	if i := s.findAttempt(c.Attempt); i >= 0 && !retryIsNew(c) { // the client was forgotten, its hold still stands
		return st.claim(s, i), nil
	}
	if s.free() {
		if err := st.roomForHold(c, false); err != nil {
			return Result{Err: err}, nil
		}
		st.history.semaphore(s)
		return st.grantTo(c, s), nil
	}
	if c.Wait {
		return st.wait(s, c), nil
	}
	return Result{Info: st.info(sema.OwnedBySomeoneElse, s, s.soonest())}, nil
}

// wait gives an acquire the last place in the line.
func (st *state) wait(s *semaphore, c *Command) Result {
	switch {
	case c.Attempt.Client.IsZero(): // nobody could find the ticket again
		return Result{Err: &sema.InvalidError{Field: "attempt.client", Value: "", Limit: "16 bytes, not all zero, to wait in line"}}
	case s.line.length >= MaxWaiting:
		return Result{Err: sema.ErrOverloaded}
	}
	if err := st.roomForTicket(c); err != nil {
		return Result{Err: err}
	}
	st.tickets.last++
	t := &ticket{number: st.tickets.last, name: s.name, owner: c.Owner, timeout: c.Timeout,
		since: st.wall(st.clock), attempt: idOf(c.Attempt), account: st.accountOf(c)}
	st.enqueue(s, t)
	return st.queued(c, t)
}

// queued answers an acquire that has a ticket.
func (st *state) queued(c *Command, t *ticket) Result {
	s, err := st.lineOf(c, t)
	if err != nil {
		return Result{Err: err}
	}
	h := s.soonest()
	return Result{Info: st.info(sema.OwnedBySomeoneElse, s, h), Deadline: h.deadline, Ticket: t.number}
}

// lineOf returns the semaphore that a ticket waits for, which the command must
// be about.
func (st *state) lineOf(c *Command, t *ticket) (*semaphore, error) {
	if t.name != c.Name {
		return nil, &sema.InvalidError{Field: "name", Value: c.Name, Limit: "the name that this attempt waits for"}
	}
	s, _ := st.semaphores.get(t.name)
	return s, nil
}

// standing tells the holder of a hold.
func (st *state) standing(s *semaphore, h *hold) Result {
	return Result{Info: st.info(sema.Acquired, s, h), Deadline: h.deadline}
}

// grantTo gives a permit that is free to an acquire.
func (st *state) grantTo(c *Command, s *semaphore) Result {
	r := st.standing(s, st.grant(s, c.Owner, c.Timeout, idOf(c.Attempt), st.accountOf(c)))
	r.New = true
	return r
}

// claim tells the holder of a hold once more.
func (st *state) claim(s *semaphore, i int) Result {
	if !s.holders[i].claimed {
		st.history.semaphore(s)
		s.holders[i].claimed = true
	}
	return st.standing(s, &s.holders[i])
}

// decideOverdue answers an acquire whose leader saw an overdue hold. It grants
// nothing: each of its three answers tells what became of that hold. s is nil if
// nobody holds.
func (st *state) decideOverdue(c *Command, s *semaphore) (Result, *hold) {
	if s == nil {
		return Result{Info: sema.Info{Status: sema.ReleasedInTheMeanTime, Name: c.Name}}, nil
	}
	i := s.find(c.Token)
	switch {
	case i < 0 && s.free():
		return Result{Info: sema.Info{Status: sema.ReleasedInTheMeanTime, Name: c.Name}}, nil
	case i < 0:
		return Result{Info: st.info(sema.OwnedBySomeoneElse, s, s.soonest())}, nil
	case s.holders[i].deadline != c.Deadline || !s.holders[i].overdue(st.clock): // touched
		return Result{Info: st.info(sema.OwnedBySomeoneElse, s, &s.holders[i])}, nil
	}
	ended, r := st.forced(s, i)
	return r, &ended
}

// repeat answers a duplicate of an attempt that was decided: as before, as far
// as that is still true, and with no further effect.
func (st *state) repeat(c *Command, o outcome) Result {
	s, held := st.semaphores.get(c.Name)
	switch {
	case o.status == sema.Acquired:
		if held {
			if i := s.find(o.token); i >= 0 {
				return st.claim(s, i)
			}
		}
		return Result{Err: sema.ErrAttemptFinished} // granted, and ended since
	case o.status == sema.ForcedReleased:
		return Result{Info: st.describe(sema.ForcedReleased, c.Name, o.ended)}
	case o.status == sema.OwnedBySomeoneElse && held:
		return Result{Info: st.info(sema.OwnedBySomeoneElse, s, s.soonest())}
	}
	return Result{Info: sema.Info{Status: sema.ReleasedInTheMeanTime, Name: c.Name}}
}

// touch moves a deadline, never to an earlier moment. It saves an overdue hold.
func (st *state) touch(c *Command) Result {
	st.hear(c)
	s, held := st.semaphores.get(c.Name)
	if !held {
		return Result{Err: sema.ErrNotHeld}
	}
	i := s.find(c.Token)
	if i < 0 {
		return Result{Err: sema.ErrNotHeld}
	}
	st.history.semaphore(s)
	h := &s.holders[i]
	h.deadline = max(h.deadline, st.deadline(h.timeout))
	h.updated = st.wall(st.clock)
	h.claimed = true
	return st.standing(s, h)
}

// release frees a hold by its token or by its attempt.
func (st *state) release(c *Command) Result {
	if c.Token == 0 && c.Attempt.Seq != 0 {
		return st.releaseAttempt(c)
	}
	st.hear(c)
	s, held := st.semaphores.get(c.Name)
	if !held {
		return Result{}
	}
	i := s.find(c.Token)
	if sabotage.On(sabotage.AnyRelease) {
		i = 0
	}
	if i < 0 {
		return Result{Err: sema.ErrNotHeld}
	}
	_, r := st.end(s, i)
	if sabotage.On(sabotage.DeniedRelease) {
		r.Err = sema.ErrNotHeld
	}
	return r
}

// releaseAttempt undoes an attempt, one whose answer was lost or that waits: it
// takes its ticket out of the line or frees what it was granted and, if it has
// not come yet, decides that it will be granted nothing.
func (st *state) releaseAttempt(c *Command) Result {
	if c.Attempt.Client.IsZero() {
		return Result{Err: &sema.InvalidError{Field: "attempt.client", Value: "", Limit: "16 bytes, not all zero"}}
	}
	by := c.Attempt
	t := st.tickets.byAttempt[idOf(by)]
	if t != nil {
		if _, err := st.lineOf(c, t); err != nil {
			return Result{Err: err}
		}
		by.LowestOpen = max(by.LowestOpen, t.attempt.lowestBeside()) // a leader that cancels does not know
	}
	client := st.clients.heard(by, &st.history)
	if !client.finished(c.Attempt.Seq) {
		if err := admit(client, c.Attempt); err != nil {
			return Result{Err: err}
		}
		if _, decided := client.outcome(c.Attempt.Seq); !decided {
			client.record(outcome{seq: c.Attempt.Seq, status: sema.ReleasedInTheMeanTime})
		}
	}
	s, held := st.semaphores.get(c.Name)
	switch {
	case t != nil:
		st.dequeue(s, t)
	case held:
		if i := s.findAttempt(c.Attempt); i >= 0 {
			_, r := st.end(s, i)
			return r
		}
	}
	return Result{}
}

// cancel takes back what an attempt has whose client is gone. It may not be gone
// after all: so nothing is decided, and if it comes back it waits anew. The leader
// names a hold only if it told nobody of it, and here it is spared if its owner has
// learned of it in another way.
func (st *state) cancel(c *Command) Result {
	s, held := st.semaphores.get(c.Name)
	if !held {
		return Result{}
	}
	if t := st.tickets.byAttempt[idOf(c.Attempt)]; t != nil {
		if t.name != c.Name {
			return Result{}
		}
		st.dequeue(s, t)
		return Result{Ticket: t.number}
	}
	i := s.findAttempt(c.Attempt)
	if i < 0 || c.Token == 0 || s.holders[i].token != c.Token || s.holders[i].claimed {
		return Result{}
	}
	_, r := st.end(s, i)
	return r
}

// expire ends a hold that nobody asks for. That it is not as the leader saw it
// is no error: it was touched or released in between.
func (st *state) expire(c *Command) Result {
	if s, held := st.semaphores.get(c.Name); held {
		i := s.find(c.Token)
		if i >= 0 && s.holders[i].deadline == c.Deadline && s.holders[i].overdue(st.clock) {
			_, r := st.forced(s, i)
			return r
		}
	}
	return Result{}
}

// forceRelease ends exactly the hold with this token: a duplicate finds it gone
// and cannot hit a later one.
func (st *state) forceRelease(c *Command) Result {
	s, held := st.semaphores.get(c.Name)
	if !held {
		return Result{Err: sema.ErrNotFound}
	}
	i := s.find(c.Token)
	if i < 0 {
		return Result{Err: sema.ErrNotHeld}
	}
	_, r := st.forced(s, i)
	return r
}

// forced ends hold i and describes it.
func (st *state) forced(s *semaphore, i int) (hold, Result) {
	h, r := st.end(s, i)
	r.Info = st.describe(sema.ForcedReleased, s.name, &h)
	if r.Granted != nil {
		r.Info.Waiting = r.Granted.Info.Waiting
	}
	return h, r
}

// query tells who holds.
func (st *state) query(c *Command) Result {
	s, held := st.semaphores.get(c.Name)
	if !held {
		return Result{Err: sema.ErrNotFound}
	}
	h := s.soonest()
	return Result{Info: st.info(sema.OwnedBySomeoneElse, s, h), Deadline: h.deadline}
}

// hear notes that a client is alive and which answers it has.
func (st *state) hear(c *Command) {
	if !c.Attempt.Client.IsZero() {
		st.clients.heard(c.Attempt, &st.history)
	}
}
