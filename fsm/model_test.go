package fsm_test

import (
	"maps"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// model is the contract once more, as plainly as it can be written: maps and
// loops, no sharing, no encoding. What it answers is what a machine must answer.
type model struct {
	clock   time.Duration
	offset  time.Duration // wall clock minus clock, since the epoch
	token   uint64
	ticket  uint64
	holds   map[string]*modelHold // one permit each
	lines   map[string][]modelTicket
	clients map[sema.ClientID]*modelClient
}

// modelTicket is an acquire that waits.
type modelTicket struct {
	fsm.Command
	number uint64
	since  time.Time
}

type modelHold struct {
	token             uint64
	owner             string
	timeout, deadline time.Duration
	created, updated  time.Time
	attempt           sema.Attempt
	claimed           bool
}

type modelClient struct {
	hour    time.Duration // of cluster time in which it was last heard of
	lowest  uint64
	answers map[uint64]modelAnswer
}

// modelAnswer is how an attempt was decided.
type modelAnswer struct {
	status sema.Status
	token  uint64
	ended  modelHold
}

func newModel() *model {
	return &model{holds: map[string]*modelHold{}, lines: map[string][]modelTicket{}, clients: map[sema.ClientID]*modelClient{}}
}

func (m *model) apply(entryTerm uint64, b fsm.Batch) []fsm.Result {
	if b.Term == entryTerm {
		m.advance(time.Duration(b.Clock), time.Duration(b.Wall))
	}
	results := []fsm.Result{}
	for _, c := range b.Commands {
		results = append(results, m.command(c))
	}
	return results
}

func (m *model) advance(clock, wall time.Duration) {
	m.clock = max(m.clock, clock)
	if drift := wall - clock - m.offset; drift.Abs() > 100*time.Millisecond {
		m.offset = wall - clock
	}
	maps.DeleteFunc(m.clients, func(_ sema.ClientID, c *modelClient) bool {
		return m.clock.Truncate(fsm.ClientRetention)-c.hour >= 2*fsm.ClientRetention
	})
}

func (m *model) wall(clock time.Duration) time.Time {
	return time.Unix(0, int64(clock+m.offset)).UTC()
}

func (m *model) info(status sema.Status, name string, h modelHold) sema.Info {
	return sema.Info{Status: status, Name: name, Owner: h.owner, Timeout: h.timeout, Token: h.token,
		ExpiresAt: m.wall(h.deadline), CreatedAt: h.created, UpdatedAt: h.updated}
}

// held is info of a hold that stands.
func (m *model) held(status sema.Status, name string) sema.Info {
	info := m.info(status, name, *m.holds[name])
	info.Waiting = len(m.lines[name])
	return info
}

// standing tells the holder.
func (m *model) standing(name string) fsm.Result {
	return fsm.Result{Info: m.held(sema.Acquired, name), Deadline: fsm.Time(m.holds[name].deadline)}
}

// heard returns the client's record, with the attempts finished that it says are.
func (m *model) heard(a sema.Attempt) *modelClient {
	c := m.clients[a.Client]
	if c == nil {
		c = &modelClient{answers: map[uint64]modelAnswer{}}
		m.clients[a.Client] = c
	}
	c.hour = m.clock.Truncate(fsm.ClientRetention)
	c.lowest = max(c.lowest, a.LowestOpen)
	maps.DeleteFunc(c.answers, func(seq uint64, _ modelAnswer) bool { return seq < c.lowest })
	return c
}

func (c *modelClient) refuses(seq uint64) error {
	switch {
	case seq == 0:
		return sema.ErrInvalid
	case seq < c.lowest:
		return sema.ErrAttemptFinished
	case seq-c.lowest >= sema.MaxOpenAttempts:
		return sema.ErrInvalid
	}
	return nil
}

func (m *model) command(c fsm.Command) fsm.Result {
	h := m.holds[c.Name]
	named := h != nil && h.token == c.Token
	switch c.Kind {
	case fsm.Acquire:
		return m.acquire(c)
	case fsm.Touch:
		if !c.Attempt.Client.IsZero() {
			m.heard(c.Attempt)
		}
		if !named {
			return fsm.Result{Err: sema.ErrNotHeld}
		}
		h.deadline = max(h.deadline, m.clock+h.timeout)
		h.updated = m.wall(m.clock)
		h.claimed = true
		return m.standing(c.Name)
	case fsm.Release:
		return m.release(c)
	case fsm.Expire:
		if !named || h.deadline != time.Duration(c.Deadline) || h.deadline > m.clock {
			return fsm.Result{}
		}
		return m.forced(c.Name)
	case fsm.ForceRelease:
		if h == nil {
			return fsm.Result{Err: sema.ErrNotFound}
		}
		if !named {
			return fsm.Result{Err: sema.ErrNotHeld}
		}
		return m.forced(c.Name)
	case fsm.Cancel:
		if name, i := m.place(c.Attempt); i >= 0 && name == c.Name {
			number := m.lines[name][i].number
			m.leave(name, i)
			return fsm.Result{Ticket: number}
		} else if i < 0 && named && c.Token != 0 && h.ownedBy(c.Attempt) && !h.claimed {
			return m.end(c.Name)
		}
		return fsm.Result{}
	default: // Query
		if h == nil {
			return fsm.Result{Err: sema.ErrNotFound}
		}
		return fsm.Result{Info: m.held(sema.OwnedBySomeoneElse, c.Name), Deadline: fsm.Time(h.deadline)}
	}
}

func (m *model) acquire(c fsm.Command) fsm.Result {
	if sema.Validate(c.Name, c.Owner, c.Timeout) != nil {
		return fsm.Result{Err: sema.ErrInvalid}
	}
	if c.Attempt.Client.IsZero() {
		r, _ := m.decide(c)
		return r
	}
	client := m.heard(c.Attempt)
	if err := client.refuses(c.Attempt.Seq); err != nil {
		return fsm.Result{Err: err}
	}
	if before, decided := client.answers[c.Attempt.Seq]; decided {
		return m.again(c, before)
	}
	if r, waits := m.waiting(c); waits {
		return r
	}
	r, answer := m.decide(c)
	if answer.status != 0 && c.Attempt.Seq >= client.lowest {
		client.answers[c.Attempt.Seq] = answer
	}
	return r
}

// decide answers an acquire, and says what there is to remember of it.
func (m *model) decide(c fsm.Command) (fsm.Result, modelAnswer) {
	h := m.holds[c.Name]
	gone := fsm.Result{Info: sema.Info{Status: sema.ReleasedInTheMeanTime, Name: c.Name}}
	overdue := c.Token != 0 && !c.Wait // the leader saw one
	switch {
	case overdue && h == nil:
		return gone, modelAnswer{status: sema.ReleasedInTheMeanTime}
	case overdue && h.token == c.Token && h.deadline == time.Duration(c.Deadline) && h.deadline <= m.clock:
		return m.forced(c.Name), modelAnswer{status: sema.ForcedReleased, ended: *h}
	case !overdue && h == nil:
		h = m.grant(c)
		r := m.standing(c.Name)
		r.New = true
		return r, modelAnswer{status: sema.Acquired, token: h.token}
	case !overdue && h.ownedBy(c.Attempt): // by a client that was forgotten
		h.claimed = true
	case c.Wait:
		return m.wait(c), modelAnswer{}
	default:
		return fsm.Result{Info: m.held(sema.OwnedBySomeoneElse, c.Name)}, modelAnswer{status: sema.OwnedBySomeoneElse}
	}
	return m.standing(c.Name), modelAnswer{status: sema.Acquired, token: h.token}
}

func (m *model) grant(c fsm.Command) *modelHold {
	m.token++
	now := m.wall(m.clock)
	h := &modelHold{token: m.token, owner: c.Owner, timeout: c.Timeout, deadline: m.clock + c.Timeout, created: now, updated: now, attempt: c.Attempt}
	m.holds[c.Name] = h
	return h
}

func (h *modelHold) ownedBy(a sema.Attempt) bool {
	return !a.Client.IsZero() && h.attempt.Client == a.Client && h.attempt.Seq == a.Seq
}

// again answers a duplicate.
func (m *model) again(c fsm.Command, before modelAnswer) fsm.Result {
	h := m.holds[c.Name]
	switch {
	case before.status == sema.Acquired && h != nil && h.token == before.token:
		h.claimed = true
		return m.standing(c.Name)
	case before.status == sema.Acquired:
		return fsm.Result{Err: sema.ErrAttemptFinished}
	case before.status == sema.ForcedReleased:
		return fsm.Result{Info: m.info(sema.ForcedReleased, c.Name, before.ended)}
	case before.status == sema.OwnedBySomeoneElse && h != nil:
		return fsm.Result{Info: m.held(sema.OwnedBySomeoneElse, c.Name)}
	}
	return fsm.Result{Info: sema.Info{Status: sema.ReleasedInTheMeanTime, Name: c.Name}}
}

func (m *model) release(c fsm.Command) fsm.Result {
	if c.Token == 0 && c.Attempt.Seq != 0 {
		return m.releaseAttempt(c)
	}
	if !c.Attempt.Client.IsZero() {
		m.heard(c.Attempt)
	}
	h := m.holds[c.Name]
	switch {
	case h == nil:
		return fsm.Result{}
	case h.token != c.Token:
		return fsm.Result{Err: sema.ErrNotHeld}
	}
	return m.end(c.Name)
}

func (m *model) releaseAttempt(c fsm.Command) fsm.Result {
	if c.Attempt.Client.IsZero() {
		return fsm.Result{Err: sema.ErrInvalid}
	}
	as := c.Attempt
	name, i := m.place(c.Attempt)
	if i >= 0 {
		if name != c.Name {
			return fsm.Result{Err: sema.ErrInvalid}
		}
		as = alone(c.Attempt)
	}
	client := m.heard(as)
	err := client.refuses(c.Attempt.Seq)
	if err == sema.ErrInvalid {
		return fsm.Result{Err: err}
	}
	if _, decided := client.answers[c.Attempt.Seq]; !decided && err == nil {
		client.answers[c.Attempt.Seq] = modelAnswer{status: sema.ReleasedInTheMeanTime}
	}
	h := m.holds[c.Name]
	switch {
	case i >= 0:
		m.leave(c.Name, i)
	case h != nil && h.ownedBy(c.Attempt):
		return m.end(c.Name)
	}
	return fsm.Result{}
}
