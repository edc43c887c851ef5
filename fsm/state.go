package fsm

import (
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/sabotage"
)

// state is all that the entries of the log have made. It is what a snapshot
// holds; nothing else may decide anything.
type state struct {
	clock      Time
	wallOffset int64 // wall clock minus clock, see followWall
	lastToken  uint64
	level      uint64 // the highest that was decided at; 0 is 1
	semaphores table[string, *semaphore]
	clients    clients
	tickets    tickets
	history    history
	accounts   accounts
	held       int          // all holds
	led        sabotage.Led // empty but in builds that break promises on purpose
}

func newState() *state {
	return &state{semaphores: newTable(func(a, b row[string, *semaphore]) bool { return a.key < b.key }), clients: newClients(), tickets: newTickets(), accounts: accounts{}}
}

// advance moves the clock to the stamp, never back.
func (st *state) advance(s Stamp) {
	st.clock = max(st.clock, s.Clock)
	st.led.Note(s.Term)
	st.followWall(s)
	st.clients.turn(st.clock)
}

// wallSlack is how far the wall clock may wander from cluster time before the
// offset follows it: times shown for an untouched hold stay the same although
// the two clocks never run quite alike.
const wallSlack = 100 * time.Millisecond

func (st *state) followWall(s Stamp) {
	offset := s.Wall - int64(s.Clock)
	if d := offset - st.wallOffset; d > int64(wallSlack) || d < -int64(wallSlack) {
		st.wallOffset = offset
	}
}

// wall is the wall-clock time at a moment of cluster time.
func (st *state) wall(t Time) int64 { return int64(t) + st.wallOffset }

// grant gives a permit under the next token. History must have the semaphore, which
// must be free, and its line empty or the grant that of its head. on is nil or whose account
// it counts on.
func (st *state) grant(s *semaphore, owner string, timeout time.Duration, to attemptID, on *account) *hold {
	st.lastToken++
	st.held++
	st.accounts.add(on, 1, 0)
	now := st.wall(st.clock)
	s.holders = append(s.holders, hold{
		token:    st.lastToken,
		owner:    owner,
		timeout:  timeout,
		deadline: st.deadline(timeout),
		created:  now,
		updated:  now,
		client:   to.client,
		seq:      to.seq,
		account:  on,
	})
	return &s.holders[len(s.holders)-1]
}

// deadline is that of a hold which is granted or touched now.
func (st *state) deadline(timeout time.Duration) Time {
	if sabotage.On(sabotage.EarlyExpiry) {
		timeout -= time.Second
	}
	if sabotage.On(sabotage.LongHolds) {
		timeout *= 20
	}
	return st.clock.Add(timeout)
}

// end takes hold i away. What is free now goes to the head of the line at once:
// a hand-over is one entry. A semaphore goes with its last hold. It returns what
// was taken, and the Result that says so.
func (st *state) end(s *semaphore, i int) (hold, Result) {
	ended := s.holders[i]
	st.held--
	st.accounts.add(ended.account, -1, 0)
	ended.account = nil // what is remembered of it counts for nobody
	r := Result{Ended: ended.token, Held: st.since(ended.created)}
	if len(s.holders) == 1 && s.line.length == 0 {
		st.semaphores.delete(s.name)
		return ended, r
	}
	st.history.semaphore(s)
	s.holders = append(s.holders[:i], s.holders[i+1:]...)
	if sabotage.On(sabotage.LostTicket) && ended.token%5 == 0 && s.line.length > 1 {
		st.dequeue(s, s.line.first)
	}
	if head := st.head(s); head != nil {
		r.Granted = st.serve(s, head)
	}
	return ended, r
}

// head is who is served next, nil if nobody waits.
func (st *state) head(s *semaphore) *ticket {
	if sabotage.On(sabotage.LineForgotten) && st.led.Odd() {
		return s.line.last
	}
	return s.line.first
}

// serve grants to a ticket and remembers that its attempt is decided. History must
// have the semaphore, which must be free.
func (st *state) serve(s *semaphore, t *ticket) *Grant {
	st.dequeue(s, t)
	h := st.grant(s, t.owner, t.timeout, t.attempt, t.account)
	st.clients.served(t.attempt, h.token, &st.history)
	return &Grant{Attempt: sema.Attempt{Client: t.attempt.client, Seq: t.attempt.seq},
		Info: st.info(sema.Acquired, s, h), Deadline: h.deadline, Waited: st.since(t.since)}
}

// since is how long ago something was, by the wall clock: never less than nothing,
// though that clock may have been set back.
func (st *state) since(wall int64) time.Duration {
	return max(0, time.Duration(st.wall(st.clock)-wall))
}

// info describes a hold to people.
func (st *state) info(status sema.Status, s *semaphore, h *hold) sema.Info {
	info := st.describe(status, s.name, h)
	info.Waiting = s.line.length
	return info
}

// describe is info of a hold that has ended.
func (st *state) describe(status sema.Status, name string, h *hold) sema.Info {
	return sema.Info{
		Status:    status,
		Name:      name,
		Owner:     h.owner,
		Timeout:   h.timeout,
		Token:     h.token,
		ExpiresAt: timeOf(st.wall(h.deadline)),
		CreatedAt: timeOf(h.created),
		UpdatedAt: timeOf(h.updated),
	}
}

// timeOf turns Unix nanoseconds into a time for people.
func timeOf(wall int64) time.Time { return time.Unix(0, wall).UTC() }
