package fsm_test

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// rush makes a line grow: many come for one name at once.
func (r *replicas) rush(t *rapid.T) {
	batch := fsm.Batch{Stamp: r.stamp(t)}
	name := r.name(t)
	above := rapid.OneOf(rapid.Uint64Range(1, 100), rapid.Uint64Range(sema.MaxOpenAttempts-5, sema.MaxOpenAttempts-1))
	for range rapid.IntRange(2, 6).Draw(t, "come") {
		a := sema.Attempt{Client: clientID(rapid.SampledFrom([]byte{1, 2, 3}).Draw(t, "client"))}
		if c := r.model.clients[a.Client]; c != nil {
			a.LowestOpen = c.lowest
		}
		a.Seq = a.LowestOpen + above.Draw(t, "above lowest")
		batch.Commands = append(batch.Commands, fsm.Command{Kind: fsm.Acquire, Name: name, Owner: "x", Timeout: 10 * time.Second, Attempt: a, Wait: true})
	}
	r.apply(t, batch)
}

// serve makes a line shrink: hold after hold of one name ends, in one way or
// another.
func (r *replicas) serve(t *rapid.T) {
	batch := fsm.Batch{Stamp: r.stamp(t)}
	name := r.name(t)
	h := r.model.holds[name]
	if h == nil {
		return
	}
	kinds := rapid.SampledFrom([]fsm.Kind{fsm.Release, fsm.ForceRelease, fsm.Expire, fsm.Acquire})
	for i := range rapid.Uint64Range(1, 3).Draw(t, "end") {
		c := fsm.Command{Kind: kinds.Draw(t, "kind"), Name: name, Token: h.token, Deadline: fsm.Time(h.deadline), Owner: "y", Timeout: time.Minute}
		if i > 0 {
			c.Token = r.model.token + i // if those before did end one each
			c.Deadline = batch.Clock.Add(10 * time.Second)
		}
		batch.Commands = append(batch.Commands, c)
	}
	r.apply(t, batch)
}

// queued makes a command, now and then, one about a ticket that stands: a retry
// or a cancellation, by its client or by a leader that knows the attempt only.
func (r *replicas) queued(t *rapid.T, c *fsm.Command) bool {
	if c.Kind != fsm.Acquire && c.Kind != fsm.Release && c.Kind != fsm.Cancel || len(r.model.lines) == 0 || rapid.IntRange(0, 2).Draw(t, "of a ticket") > 0 {
		return false
	}
	name := rapid.SampledFrom(slices.Sorted(maps.Keys(r.model.lines))).Draw(t, "line")
	ticket := rapid.SampledFrom(r.model.lines[name]).Draw(t, "ticket")
	if rapid.IntRange(0, 9).Draw(t, "by its name") > 0 {
		c.Name = name
	}
	c.Attempt = ticket.Attempt
	if rapid.Bool().Draw(t, "by the leader") {
		c.Attempt.LowestOpen = 0
	}
	if c.Kind == fsm.Acquire {
		c.Owner, c.Timeout, c.Wait = ticket.Owner, ticket.Timeout, rapid.Bool().Draw(t, "wait")
		if h := r.model.holds[name]; rapid.Bool().Draw(t, "overdue") {
			c.Token, c.Deadline = h.token, fsm.Time(h.deadline)
		}
	}
	return true
}

// queues are the lines as somebody sees them who knows nothing but the answers.
type queues map[string][]place

type place struct {
	ticket  uint64
	attempt sema.Attempt
}

func (q queues) find(name string, a sema.Attempt) int {
	return slices.IndexFunc(q[name], func(p place) bool { return p.attempt.Client == a.Client && p.attempt.Seq == a.Seq })
}

// notOvertaken checks that nobody waits for what an acquire was granted at once.
func (q queues) notOvertaken(t *rapid.T, c fsm.Command) {
	if len(q[c.Name]) > 0 {
		t.Fatalf("%+v overtook %+v", c, q[c.Name])
	}
}

// follow checks that what is granted in a line is granted to its head, that
// whoever waits is told the same ticket again and again, and that a line is
// served by whatever ends a hold.
func (q queues) follow(t *rapid.T, c fsm.Command, r fsm.Result) {
	i := q.find(c.Name, c.Attempt)
	if c.Kind == fsm.Cancel && (r.Ticket != 0) != (i >= 0) {
		t.Fatalf("%+v took away ticket %d, where %+v wait", c, r.Ticket, q[c.Name])
	}
	switch {
	case r.Ticket != 0 && i < 0:
		for name, line := range q {
			if len(line) > 0 && line[len(line)-1].ticket >= r.Ticket {
				t.Fatalf("ticket %d of %q after %+v of %q", r.Ticket, c.Name, line, name)
			}
		}
		q[c.Name] = append(q[c.Name], place{r.Ticket, c.Attempt})
	case r.Ticket != 0 && q[c.Name][i].ticket != r.Ticket:
		t.Fatalf("%+v had ticket %d, and now %d", c, q[c.Name][i].ticket, r.Ticket)
	case c.Kind == fsm.Release && c.Token == 0 && i >= 0 && r.Err == nil, c.Kind == fsm.Cancel && i >= 0:
		q[c.Name] = slices.Delete(q[c.Name], i, i+1)
	}
	if (r.Granted != nil) != (r.Ended != 0 && len(q[c.Name]) > 0) {
		t.Fatalf("%+v ended %d and granted %+v, where %+v wait", c, r.Ended, r.Granted, q[c.Name])
	}
	if r.Granted != nil {
		if i := q.find(c.Name, r.Granted.Attempt); i != 0 || r.Granted.Info.Name != c.Name {
			t.Fatalf("%+v was granted to place %d of %+v", r.Granted, i, q[c.Name])
		}
		q[c.Name] = q[c.Name][1:]
	}
}

// checkLines holds what the readers see of lines against the model, and against
// the rule that nobody waits for what is free.
func (r *replicas) checkLines(t *rapid.T, m *fsm.Machine) {
	listed := m.List("", "", 1000, 1000).Lines
	var tickets []fsm.Place
	m.Tickets(0, 1000, func(p fsm.Place) { tickets = append(tickets, p) })
	var all []fsm.Place
	for name, line := range r.model.lines {
		if !m.Look(name).Held {
			t.Fatalf("%q is free and has the line %+v", name, line)
		}
		if got := listed[name]; !reflect.DeepEqual(got, r.model.shown(name)) {
			t.Fatalf("line of %q\ngot  %+v\nwant %+v", name, got, r.model.shown(name))
		}
		var places []fsm.Place
		m.Line(name, fsm.Place{}, 1000, func(p fsm.Place) { places = append(places, p) })
		if !reflect.DeepEqual(places, r.model.places(name)) {
			t.Fatalf("places of %q\ngot  %+v\nwant %+v", name, places, r.model.places(name))
		}
		all = append(all, places...)
	}
	slices.SortFunc(all, func(a, b fsm.Place) int { return int(a.Number) - int(b.Number) })
	for i := range all {
		all[i].Position = 0
	}
	if len(listed) != len(r.model.lines) || !slices.Equal(tickets, all) {
		t.Fatalf("%d lines, want %d; tickets\ngot  %+v\nwant %+v", len(listed), len(r.model.lines), tickets, all)
	}
}
