package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits say how a history is judged. The zero value is strict and ready to use.
type Limits struct {
	// MinOps is how many calls must have been answered without an error for the run to count.
	MinOps int
	// SpuriousRefusals allows a refusal from the memory of a leader within its lease: it
	// may name an earlier hold of the semaphore than the one that stands.
	SpuriousRefusals bool
	// Overstay is how long, in cluster time, a hold may be overdue while somebody waits in
	// line for it: what the leader gives to late touches after a pause of its own, and
	// to disks and networks that are slow. Pauses in which the log got no entry at all
	// do not count. 30 s if zero.
	Overstay time.Duration
	// Drawings is the directory for drawings of what is not linearizable, as HTML. Empty:
	// there are none.
	Drawings string
}

// Violation is a promise that was not kept.
type Violation struct {
	Verdict string
	// Text says in plain words what is wrong, and then tells the events that led
	// there, one per line.
	Text string
	Ops  []int  // the ops concerned, ascending
	File string // of the drawing, if there is one
}

// Note is about a verdict that was not reached.
type Note struct{ Verdict, Text string }

// Report is what came of judging a history.
type Report struct {
	Ops, Answered, Holds, Semaphores int // how much there was to judge; Answered without an error

	Violations []Violation
	Undecided  []Note // the checks that gave up: neither passed nor failed
	Skipped    []Note // the checks that had nothing to go by
}

// OK reports whether every promise was kept, as far as could be checked, and
// nothing was left undecided.
func (r Report) OK() bool { return len(r.Violations) == 0 && len(r.Undecided) == 0 }

// String is the report for people to read.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "calls: %d, answered without an error: %d, lock handles: %d, semaphores: %d, violations: %d, undecided: %d\n",
		r.Ops, r.Answered, r.Holds, r.Semaphores, len(r.Violations), len(r.Undecided))
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "\n%s: %s\n", v.Verdict, strings.ReplaceAll(v.Text, "\n", "\n  "))
		if v.File != "" {
			fmt.Fprintf(&b, "  drawing: %s\n", v.File)
		}
	}
	for _, n := range r.Undecided {
		fmt.Fprintf(&b, "\nundecided, %s: %s\n", n.Verdict, n.Text)
	}
	for _, n := range r.Skipped {
		fmt.Fprintf(&b, "\nskipped, %s: %s\n", n.Verdict, n.Text)
	}
	return b.String()
}

// verdict judges one promise.
type verdict struct {
	name  string
	judge func(*evidence) finding
}

// finding is what a verdict says.
type finding struct {
	violations         []Violation
	undecided, skipped []string
}

// verdicts in the order in which they are told: what is plain before what needs
// a search.
var verdicts = []verdict{
	{"enough", enough}, {"genuine", genuine}, {"tokens rise", tokensRise}, {"exclusion", exclusion}, {"nothing lost", nothingLost},
	{"told in time", toldInTime}, {"first come, first served", firstComeFirstServed}, {"linearizable", linearizable},
	{"by the log", byTheLog},
}

// Check judges a history by all verdicts.
func Check(h History, j Journal, l Limits) Report { return judge(h, j, l, verdicts...) }

// Enough: so many calls were answered without an error that the run counts.
func Enough(h History, l Limits) Report { return judge(h, nil, l, verdicts[0]) }

// Genuine: every hold that an answer describes was asked for, by somebody who had
// begun to ask by then and under that name. With a journal: it was granted in the log, and
// not after the answer.
func Genuine(h History, j Journal, l Limits) Report { return judge(h, j, l, verdicts[1]) }

// TokensRise: no two holds have one token, and a hold whose acquire began when
// another's token had been seen has a higher one.
func TokensRise(h History, l Limits) Report { return judge(h, nil, l, verdicts[2]) }

// Exclusion: no two clients believe at the same time that they hold one semaphore.
func Exclusion(h History, l Limits) Report { return judge(h, nil, l, verdicts[3]) }

// NothingLost: a hold that was acknowledged is not found gone before it can be
// overdue, unless somebody released it. With a journal: it was granted in the log.
func NothingLost(h History, j Journal, l Limits) Report { return judge(h, j, l, verdicts[4]) }

// ToldInTime: who loses a hold is told by the deadline, and before anybody else's
// acquire is answered.
func ToldInTime(h History, l Limits) Report { return judge(h, nil, l, verdicts[5]) }

// FIFO: who begins to wait after another was told its place is granted after it.
// The journal shows who left the line. Without one, those whose place ever rose are
// taken to have left it, and who came back without a trace may be accused wrongly.
func FIFO(h History, j Journal, l Limits) Report { return judge(h, j, l, verdicts[6]) }

// Linearizable: for each semaphore there is one order of all calls that explains
// all answers. See the package documentation for the model.
func Linearizable(h History, j Journal, l Limits) Report { return judge(h, j, l, verdicts[7]) }

// ByTheLog: what the log itself shows is right: no hold is good for longer than was
// asked, ends as overdue before its time, or stays for long when it is overdue and
// somebody waits; nobody vanishes from a line; nobody who released is told that it
// held nothing. It needs a journal.
func ByTheLog(h History, j Journal, l Limits) Report { return judge(h, j, l, verdicts[8]) }

func judge(h History, j Journal, l Limits, by ...verdict) Report {
	e := newEvidence(h, j, l)
	r := Report{Ops: len(h.Ops), Answered: e.answered, Holds: len(h.Holds), Semaphores: len(e.semaphores)}
	for _, text := range e.flaws {
		r.Undecided = append(r.Undecided, Note{"recording", text})
	}
	for _, v := range by {
		f := v.judge(e)
		for _, found := range f.violations {
			found.Verdict = v.name
			slices.Sort(found.Ops)
			found.Ops = slices.Compact(found.Ops)
			r.Violations = append(r.Violations, found)
		}
		for _, text := range f.undecided {
			r.Undecided = append(r.Undecided, Note{v.name, text})
		}
		for _, text := range f.skipped {
			r.Skipped = append(r.Skipped, Note{v.name, text})
		}
	}
	return r
}

func enough(e *evidence) (f finding) {
	if e.answered < e.limits.MinOps {
		f.violations = append(f.violations, Violation{Text: fmt.Sprintf(
			"the run does not count: %d calls were answered without an error, at least %d are wanted", e.answered, e.limits.MinOps)})
	}
	return f
}
