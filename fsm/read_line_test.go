package fsm_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// linedUp returns a machine on which a, b and c are held, under tokens 1 to 3,
// and clients 11 to 14 wait for a, 15 for c, with tickets in this order: 11 15 12
// 13 14. Owners are named after their clients.
func linedUp(t *testing.T) *fsm.Machine {
	t.Helper()
	m := held(t, "a", "b", "c")
	for i, w := range []struct {
		name   string
		client byte
	}{{"a", 11}, {"c", 15}, {"a", 12}, {"a", 13}, {"a", 14}} {
		c := waiting(w.name, w.client, 1)
		c.Owner = fmt.Sprint(w.client)
		apply(t, m, entryOf(t, at(time.Duration(i)*time.Second), c))
	}
	return m
}

// tellLine says a line in a few characters: position, owner, second of its coming.
func tellLine(line []sema.Ticket) (told []string) {
	for _, ticket := range line {
		told = append(told, fmt.Sprintf("%d:%s@%v", ticket.Position, ticket.Owner, ticket.Since.Sub(founded)))
	}
	return told
}

func TestShow(t *testing.T) {
	m := linedUp(t)
	for _, test := range []struct {
		name  string
		limit int
		token uint64
		count int
		line  []string
	}{
		{"a", 100, 1, 4, []string{"1:11@0s", "2:12@2s", "3:13@3s", "4:14@4s"}},
		{"a", 4, 1, 4, []string{"1:11@0s", "2:12@2s", "3:13@3s", "4:14@4s"}},
		{"a", 2, 1, 4, []string{"1:11@0s", "2:12@2s"}},
		{"a", 0, 1, 4, nil},
		{"b", 9, 2, 0, nil},
		{"c", 9, 3, 1, []string{"1:15@1s"}},
		{"d", 9, 0, 0, nil},
	} {
		info, line, held := m.Show(test.name, test.limit)
		if held != (test.token != 0) || info.Token != test.token || info.Waiting != test.count || !slices.Equal(tellLine(line), test.line) {
			t.Errorf("%s up to %d: got %+v, line %v, held %v", test.name, test.limit, info, tellLine(line), held)
		}
		if view := m.Look(test.name); view.Info != info {
			t.Errorf("%s is shown as %+v and seen as %+v", test.name, info, view.Info)
		}
	}
}

// TestListWithLines: holds and tickets share the limit.
func TestListWithLines(t *testing.T) {
	m := linedUp(t)
	for _, test := range []struct {
		after       string
		limit, line int
		want        []string
		more        bool
	}{
		{"", 100, 100, []string{"a", "1:11@0s", "2:12@2s", "3:13@3s", "4:14@4s", "b", "c", "1:15@1s"}, false},
		{"", 8, 100, []string{"a", "1:11@0s", "2:12@2s", "3:13@3s", "4:14@4s", "b", "c", "1:15@1s"}, false},
		{"", 7, 100, []string{"a", "1:11@0s", "2:12@2s", "3:13@3s", "4:14@4s", "b", "c"}, false},
		{"", 6, 100, []string{"a", "1:11@0s", "2:12@2s", "3:13@3s", "4:14@4s", "b"}, true},
		{"", 5, 100, []string{"a", "1:11@0s", "2:12@2s", "3:13@3s", "4:14@4s"}, true},
		{"", 3, 100, []string{"a", "1:11@0s", "2:12@2s"}, true},
		{"", 1, 100, []string{"a"}, true},
		{"", 0, 100, nil, true},
		{"", 5, 2, []string{"a", "1:11@0s", "2:12@2s", "b", "c"}, false},
		{"", 3, 0, []string{"a", "b", "c"}, false},
		{"a", 3, 9, []string{"b", "c", "1:15@1s"}, false},
	} {
		page := m.List("", test.after, test.limit, test.line)
		var got []string
		for _, info := range page.Infos {
			got = append(append(got, info.Name), tellLine(page.Lines[info.Name])...)
		}
		if !slices.Equal(got, test.want) || page.More != test.more {
			t.Errorf("after %q up to %d, lines up to %d: got %v, more %v; want %v, more %v",
				test.after, test.limit, test.line, got, page.More, test.want, test.more)
		}
	}
}

// TestTickets: all lines, by number, in pages, whatever happens in between.
func TestTickets(t *testing.T) {
	want := []string{"1 a 11/1", "2 c 15/1", "3 a 12/1", "4 a 13/1", "5 a 14/1"}
	m := linedUp(t)
	pages := func(limit int, between func()) (got []string) {
		for next, more := uint64(0), true; more; more = next != 0 {
			next = m.Tickets(next, limit, func(p fsm.Place) {
				got = append(got, fmt.Sprintf("%d %s %d/%d", p.Number, p.Name, p.Attempt.Client[0], p.Attempt.Seq))
				if p.Position != 0 || p.Attempt.LowestOpen != 0 {
					t.Errorf("it tells too much: %+v", p)
				}
			})
			between()
		}
		return got
	}
	for limit := 1; limit <= 6; limit++ {
		if got := pages(limit, func() {}); !slices.Equal(got, want) {
			t.Errorf("%d at a time: got %v", limit, got)
		}
	}
	served := pages(2, func() { apply(t, m, entryOf(t, at(0), cancel("c", 15, 1), cancel("a", 12, 1))) })
	if want := append(want[:2:2], want[3:]...); !slices.Equal(served, want) {
		t.Errorf("with tickets 2 and 3 cancelled after the first page: got %v", served)
	}
	if next := held(t, "a").Tickets(0, 5, func(p fsm.Place) { t.Errorf("%+v, where nobody waits", p) }); next != 0 {
		t.Errorf("where nobody waits it goes on after %d", next)
	}
}

// TestLine: the places of one line, in pages.
func TestLine(t *testing.T) {
	for limit := 1; limit <= 5; limit++ {
		m := linedUp(t)
		var got []string
		var last fsm.Place
		for more := true; more; {
			var holder sema.Info
			holder, last, more = m.Line("a", last, limit, func(p fsm.Place) {
				got = append(got, fmt.Sprintf("%d: %d %s %d", p.Position, p.Number, p.Name, p.Attempt.Client[0]))
			})
			if holder != m.Look("a").Info {
				t.Errorf("before the line stands %+v", holder)
			}
		}
		if !slices.Equal(got, []string{"1: 1 a 11", "2: 3 a 12", "3: 4 a 13", "4: 5 a 14"}) {
			t.Errorf("%d at a time: got %v", limit, got)
		}
	}
}

// TestLineThatMoves: a page cannot follow a ticket that has left.
func TestLineThatMoves(t *testing.T) {
	m := linedUp(t)
	_, first, more := m.Line("a", fsm.Place{}, 1, func(fsm.Place) {})
	if first.Number != 1 || !more {
		t.Fatalf("the head is %+v, more %v", first, more)
	}
	apply(t, m, entryOf(t, at(0), cancel("a", 12, 1)))
	var got []uint64
	if _, _, more := m.Line("a", first, 9, func(p fsm.Place) { got = append(got, p.Number) }); more || !slices.Equal(got, []uint64{4, 5}) {
		t.Errorf("behind the head, without its neighbour: %v, more %v", got, more)
	}
	apply(t, m, entryOf(t, at(0), fsm.Command{Kind: fsm.Release, Name: "a", Token: 1}))
	visit := func(p fsm.Place) { t.Errorf("%+v was visited", p) }
	if _, last, more := m.Line("a", first, 9, visit); more || last != (fsm.Place{}) {
		t.Errorf("behind a ticket that was served: %+v, more %v", last, more)
	}
	// The attempt that was served waits again, as another number: that is no place to go on from.
	apply(t, m, entryOf(t, at(6*fsm.ClientRetention), fsm.Command{Kind: fsm.Release, Name: "a", Token: 4}, waiting("a", 11, 1)))
	if _, last, more := m.Line("a", first, 9, visit); more || last != (fsm.Place{}) {
		t.Errorf("behind the former ticket of an attempt that has another: %+v, more %v", last, more)
	}
	for _, name := range []string{"b", "d"} {
		if _, last, more := m.Line(name, fsm.Place{}, 9, visit); more || last != (fsm.Place{}) {
			t.Errorf("the line of %q: %+v, more %v", name, last, more)
		}
	}
}

// TestDeadlinesTellWhoIsWaitedFor: the leader hurries for nobody else.
func TestDeadlinesTellWhoIsWaitedFor(t *testing.T) {
	m := linedUp(t)
	apply(t, m, entryOf(t, at(0), cancel("c", 15, 1)))
	want := map[string]bool{"a": true, "b": false, "c": false}
	m.Deadlines("", 9, func(d fsm.Deadline) {
		of, stands := m.DeadlineOf(d.Name, d.Token)
		if d.Waiting != want[d.Name] || of != d || !stands {
			t.Errorf("%+v, and by itself %+v", d, of)
		}
		delete(want, d.Name)
	})
	if len(want) > 0 {
		t.Errorf("no deadlines of %v", want)
	}
}
