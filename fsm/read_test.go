package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/semanode/sema/fsm"
)

// held returns a machine on which these names are held, with tokens in their
// order.
func held(t *testing.T, names ...string) *fsm.Machine {
	t.Helper()
	m := fsm.New()
	for i, name := range names {
		apply(t, m, entryOf(t, at(0), acquire(name, 1, uint64(i+1))))
	}
	return m
}

func TestList(t *testing.T) {
	m := held(t, "b/2", "a", "b/10", "b/1", "b", "c", "b0")
	for _, test := range []struct {
		prefix, after string
		limit         int
		want          []string
		more          bool
	}{
		{"", "", 100, []string{"a", "b", "b/1", "b/10", "b/2", "b0", "c"}, false},
		{"", "", 7, []string{"a", "b", "b/1", "b/10", "b/2", "b0", "c"}, false},
		{"", "", 6, []string{"a", "b", "b/1", "b/10", "b/2", "b0"}, true},
		{"", "b/10", 2, []string{"b/2", "b0"}, true},
		{"", "b/11", 2, []string{"b/2", "b0"}, true}, // a name that is gone by now
		{"b/", "", 2, []string{"b/1", "b/10"}, true},
		{"b/", "b/10", 2, []string{"b/2"}, false},
		{"b/", "b/2", 2, nil, false},
		{"b/", "a", 1, []string{"b/1"}, true}, // after lies before the prefix
		{"b/", "c", 1, nil, false},            // and behind it
		{"b/1", "b/1", 5, []string{"b/10"}, false},
		{"d", "", 5, nil, false},
		{"", "", 0, nil, true},
	} {
		t.Run(fmt.Sprintf("%s after %s up to %d", test.prefix, test.after, test.limit), func(t *testing.T) {
			page := m.List(test.prefix, test.after, test.limit, 5)
			var got []string
			for _, info := range page.Infos {
				got = append(got, info.Name)
			}
			if !slices.Equal(got, test.want) || page.More != test.more || page.Lines != nil {
				t.Errorf("got %q and lines %v, more %v; want %q, more %v", got, page.Lines, page.More, test.want, test.more)
			}
		})
	}
}

func TestDeadlines(t *testing.T) {
	m := held(t, "c", "a", "b")
	for _, limit := range []int{1, 2, 3, 4} {
		var got []string
		for next, more := "", true; more; more = next != "" {
			next = m.Deadlines(next, limit, func(d fsm.Deadline) { got = append(got, fmt.Sprint(d.Name, d.Token)) })
		}
		if !slices.Equal(got, []string{"a2", "b3", "c1"}) {
			t.Errorf("%d at a time: got %v", limit, got)
		}
	}
}

func TestDeadlineOf(t *testing.T) {
	m := held(t, "a")
	if d, stands := m.DeadlineOf("a", 1); !stands || d != (fsm.Deadline{Name: "a", Token: 1, At: 10e9}) {
		t.Errorf("got %+v %v, want 10s", d, stands)
	}
	if _, stands := m.DeadlineOf("a", 2); stands {
		t.Error("a hold with another token stands")
	}
	if _, stands := m.DeadlineOf("b", 1); stands {
		t.Error("a hold of a free semaphore stands")
	}
	if view := m.Look("b"); view != (fsm.View{}) {
		t.Errorf("a free semaphore is seen as %+v", view)
	}
}
