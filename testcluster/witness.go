package testcluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mistake is something that a critical section must not do.
type Mistake struct {
	Kind  string   // TwoAtOnce, WorkAfterCancel or OldToken
	About string   // what happened, in one line
	Story []string // the events that led there, one a line
}

// The kinds of mistakes.
const (
	TwoAtOnce       = "two at once"
	WorkAfterCancel = "work after the context was cancelled"
	OldToken        = "a write accepted with an old token"
)

// String tells the mistake and how it came about.
func (m Mistake) String() string {
	return fmt.Sprintf("%s: %s\n  %s", m.Kind, m.About, strings.Join(m.Story, "\n  "))
}

// witness sees what sections do, and tells mistakes. Safe for use by many
// goroutines.
type witness struct {
	elapsed func() time.Duration

	mu       sync.Mutex
	events   []event
	shifts   []*shift // under way
	newest   *shift   // with the highest token that had an effect accepted
	newestAt int      // the event of that
	found    ExerciseReport
}

// event is something that happened, to one worker or to the cluster.
type event struct {
	at    time.Duration
	shift *shift // nil: the cluster
	text  string
}

// shift is one run of a section.
type shift struct {
	worker string
	token  uint64
	began  int // the event
	ctx    context.Context
	stop   func() bool // no longer watches ctx
	lost   bool        // ctx ended before the section
	lostAt time.Duration
}

// who is the worker with its token, for people.
func (s *shift) who() string { return fmt.Sprintf("%s (token %d)", s.worker, s.token) }

func newWitness(elapsed func() time.Duration) *witness { return &witness{elapsed: elapsed} }

// note adds an event and returns its number. w.mu is held.
func (w *witness) note(s *shift, format string, args ...any) int {
	w.events = append(w.events, event{w.elapsed(), s, fmt.Sprintf(format, args...)})
	return len(w.events) - 1
}

func (w *witness) fault(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(nil, "%s", text)
}

// begin notes that a section begins, and watches its context.
func (w *witness) begin(worker string, token uint64, ctx context.Context) *shift {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &shift{worker: worker, token: token, ctx: ctx}
	s.began = w.note(s, "begins its section with token %d", token)
	s.stop = context.AfterFunc(ctx, func() { w.loses(s) })
	w.shifts = append(w.shifts, s)
	w.found.Sections++
	return s
}

// loses notes that the context of a section has ended.
func (w *witness) loses(s *shift) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.shifts, s) {
		w.lose(s)
	}
}

func (w *witness) lose(s *shift) {
	if !s.lost {
		s.lost, s.lostAt = true, w.elapsed()
		w.found.Lost++
		w.note(s, "loses its context: %v", context.Cause(s.ctx))
	}
}

// end notes that a section has returned.
func (w *witness) end(s *shift, err error) {
	s.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shifts = slices.DeleteFunc(w.shifts, func(other *shift) bool { return other == s })
	if err != nil {
		w.note(s, "leaves its section: %v", err)
	} else {
		w.note(s, "leaves its section")
	}
}

// asked is what was so when a section set out to do something.
type asked struct {
	cancelled bool
	beside    *shift // a newer section that had begun and not ended
}

func (w *witness) ask(s *shift) asked {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := asked{cancelled: s.ctx.Err() != nil}
	if a.cancelled {
		w.lose(s)
	}
	for _, other := range w.shifts {
		if other.token > s.token {
			a.beside = other
		}
	}
	return a
}

func (w *witness) stalled(s *shift, length time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found.Stalls++
	w.note(s, "is stopped in the middle of its work, for %v", length.Round(time.Millisecond))
}

// did notes an effect and judges it.
func (w *witness) did(s *shift, what string, when asked, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.found.Refused++
		w.note(s, "tries %q and is refused: %v", what, err)
		return
	}
	w.found.Accepted++
	now := w.note(s, "does %q", what)
	if when.beside != nil {
		about := fmt.Sprintf("%s did %q while %s was in its section", s.who(), what, when.beside.who())
		if !when.cancelled {
			about += "; its context was still good, so this is not the section's mistake but the cluster's"
		}
		w.mistake(TwoAtOnce, about, s, when.beside)
	}
	if when.cancelled {
		w.mistake(WorkAfterCancel, fmt.Sprintf("%s did %q %v after its context was cancelled",
			s.who(), what, (w.elapsed()-s.lostAt).Round(time.Millisecond)), s, when.beside)
	}
	switch {
	case w.newest == nil || s.token >= w.newest.token:
		w.newest, w.newestAt = s, now
	default:
		w.mistake(OldToken, fmt.Sprintf("%s did %q, and it was accepted, although token %d had been at work %v before",
			s.who(), what, w.newest.token, (w.elapsed()-w.events[w.newestAt].at).Round(time.Millisecond)), s, w.newest)
	}
}

// mistake keeps the first of each kind, with the story of the two concerned.
func (w *witness) mistake(kind, about string, s, other *shift) {
	if slices.ContainsFunc(w.found.Mistakes, func(m Mistake) bool { return m.Kind == kind }) {
		return
	}
	m := Mistake{Kind: kind, About: about}
	for _, e := range w.events[s.began:] {
		switch {
		case e.shift == nil:
			m.Story = append(m.Story, fmt.Sprintf("%9v  %s", e.at.Round(time.Millisecond), e.text))
		case e.shift == s || e.shift == other:
			m.Story = append(m.Story, fmt.Sprintf("%9v  %s %s", e.at.Round(time.Millisecond), e.shift.worker, e.text))
		}
	}
	w.found.Mistakes = append(w.found.Mistakes, m)
}

// trouble keeps why the exercise does not count, the first few times.
func (w *witness) trouble(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.found.Trouble) < 3 {
		w.found.Trouble = append(w.found.Trouble, err)
	}
}

func (w *witness) report() ExerciseReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.found
}
