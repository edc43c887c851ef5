package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/semanode/sema"
)

// clock is a time of the history as people read it.
func clock(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

// story tells what is wrong, and then the ops that led there in the order in which
// they began. Whatever else there is to say comes last.
func story(wrong string, ops []*Op, more ...string) Violation {
	ops = slices.DeleteFunc(slices.Clone(ops), func(op *Op) bool { return op == nil })
	slices.SortStableFunc(ops, func(a, b *Op) int { return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID)) })
	ops = slices.Compact(ops)
	v := Violation{}
	lines := []string{wrong}
	for _, op := range ops {
		v.Ops = append(v.Ops, op.ID)
		lines = append(lines, op.String())
	}
	v.Text = strings.Join(append(lines, more...), "\n")
	return v
}

// String tells the call in one line.
func (o *Op) String() string {
	when := clock(o.Start) + " to " + clock(o.End)
	if o.Outcome == Pending {
		when = clock(o.Start) + " on"
	}
	return fmt.Sprintf("%s: %s, call %d: %s -> %s", when, o.Client, o.ID, o.asks(), o.answer())
}

// asks tells what was asked for.
func (o *Op) asks() string {
	text := fmt.Sprintf("%s %q", o.Kind, o.Name)
	switch {
	case o.acquires():
		text += fmt.Sprintf(" as %s for %v", o.Owner, o.Timeout)
	case o.Token != 0:
		text += fmt.Sprintf(", token %d", o.Token)
	}
	if len(o.Places) > 0 {
		text += fmt.Sprintf(" (told place %d at %s)", o.Places[0].Position, clock(o.Places[0].At))
	}
	return text
}

// answer tells what came of it.
func (o *Op) answer() string {
	switch {
	case o.Outcome == Pending:
		return "no answer yet"
	case o.Outcome == Unknown:
		return "outcome unknown"
	case o.Class == NotHeld:
		return "not held"
	case o.Class == NotFound:
		return "nobody holds it"
	case o.Outcome == Failed:
		return "failed: " + cmp.Or(o.Err, "no reason given")
	case o.Info.Token == 0 && !o.Info.Status.Valid():
		return "done"
	}
	text := fmt.Sprintf("token %d of %s", o.Info.Token, cmp.Or(o.Info.Owner, o.Owner, "somebody"))
	switch {
	case !o.acquires():
		return text
	case o.Info.Status == sema.ReleasedInTheMeanTime:
		return o.Info.Status.String()
	}
	return fmt.Sprintf("%v, %s", o.Info.Status, text)
}

// String tells the belief in one line.
func (h *Hold) String() string {
	how := "until it was done with it"
	if h.Lost {
		how = "until it was told that it is lost"
	}
	text := fmt.Sprintf("%s to %s: %s, from call %d: a handle of %q, token %d, %s", clock(h.From), clock(h.Until), h.Client, h.Op, h.Name, h.Token, how)
	if h.Deadline != 0 {
		text += ", deadline " + clock(h.Deadline)
	}
	return text
}
