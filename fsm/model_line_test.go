package fsm_test

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// The lines of the model: slices, searched from the front.

// place finds the ticket of an attempt.
func (m *model) place(a sema.Attempt) (name string, i int) {
	for name, line := range m.lines {
		for i, t := range line {
			if t.Attempt.Client == a.Client && t.Attempt.Seq == a.Seq {
				return name, i
			}
		}
	}
	return "", -1
}

// waiting answers an acquire whose attempt has a ticket.
func (m *model) waiting(c fsm.Command) (r fsm.Result, waits bool) {
	name, i := m.place(c.Attempt)
	switch {
	case i < 0:
		return fsm.Result{}, false
	case name != c.Name:
		return fsm.Result{Err: sema.ErrInvalid}, true
	}
	r = m.standing(name)
	r.Info.Status = sema.OwnedBySomeoneElse
	r.Ticket = m.lines[name][i].number
	return r, true
}

// wait puts an acquire at the end of the line.
func (m *model) wait(c fsm.Command) fsm.Result {
	if c.Attempt.Client.IsZero() {
		return fsm.Result{Err: sema.ErrInvalid}
	}
	m.ticket++
	m.lines[c.Name] = append(m.lines[c.Name], modelTicket{Command: c, number: m.ticket, since: m.wall(m.clock)})
	r, _ := m.waiting(c)
	return r
}

func (m *model) leave(name string, i int) {
	m.lines[name] = slices.Delete(m.lines[name], i, i+1)
	if len(m.lines[name]) == 0 {
		delete(m.lines, name)
	}
}

// alone is an attempt whose client may have been forgotten while it waited. The
// lowest one that can be open beside it is then as good as what the client said.
func alone(a sema.Attempt) sema.Attempt {
	if a.Seq >= sema.MaxOpenAttempts {
		a.LowestOpen = max(a.LowestOpen, a.Seq-(sema.MaxOpenAttempts-1))
	}
	return a
}

// end takes the hold away and gives it to the head of the line.
func (m *model) end(name string) fsm.Result {
	r := fsm.Result{Ended: m.holds[name].token, Held: m.ago(m.holds[name].created)}
	delete(m.holds, name)
	if len(m.lines[name]) == 0 {
		return r
	}
	head := m.lines[name][0]
	m.leave(name, 0)
	h := m.grant(head.Command)
	as := sema.Attempt{Client: head.Attempt.Client, Seq: head.Attempt.Seq}
	client := m.heard(alone(as))
	if _, decided := client.answers[as.Seq]; !decided && as.Seq >= client.lowest {
		client.answers[as.Seq] = modelAnswer{status: sema.Acquired, token: h.token}
	}
	r.Granted = &fsm.Grant{Attempt: as, Info: m.held(sema.Acquired, name), Deadline: fsm.Time(h.deadline), Waited: m.ago(head.since)}
	return r
}

// ago is how long ago something was, unless the wall clock was set back.
func (m *model) ago(then time.Time) time.Duration { return max(0, m.wall(m.clock).Sub(then)) }

// forced ends the hold and describes it.
func (m *model) forced(name string) fsm.Result {
	h := *m.holds[name]
	r := m.end(name)
	r.Info = m.info(sema.ForcedReleased, name, h)
	r.Info.Waiting = len(m.lines[name])
	return r
}

// list is what Machine.List answers without limit.
func (m *model) list(prefix, after string) (infos []sema.Info) {
	for _, name := range slices.Sorted(maps.Keys(m.holds)) {
		if strings.HasPrefix(name, prefix) && name > after {
			infos = append(infos, m.held(sema.OwnedBySomeoneElse, name))
		}
	}
	return infos
}

// shown is the line as people see it.
func (m *model) shown(name string) (line []sema.Ticket) {
	for i, t := range m.lines[name] {
		line = append(line, sema.Ticket{Position: i + 1, Owner: t.Owner, Since: t.since})
	}
	return line
}

// places are the tickets as a leader sees them.
func (m *model) places(name string) (line []fsm.Place) {
	for i, t := range m.lines[name] {
		line = append(line, fsm.Place{Number: t.number, Name: name, Position: i + 1,
			Attempt: sema.Attempt{Client: t.Attempt.Client, Seq: t.Attempt.Seq}})
	}
	return line
}
