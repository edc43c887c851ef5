// Package leash is the local deadline of a hold, as a context: it ends when the
// hold may pass to somebody else, whether or not this process is told.
//
// The time of a hold runs, at the earliest, from a moment before the request that
// acquired or touched it was sent. The leash ends a given time after that moment,
// by this machine's own clocks, see package moment. A timer ends it; and since a
// process that was stopped may go on with its work before its timers have run, so
// does everybody who asks the context for Err or Done: both look at the clocks.
//
// Timers stand still while the machine is suspended. That of [New] goes off often, to
// look at the clocks; who has many leashes takes [NewWatched] and looks once for all.
package leash

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/semanode/sema/internal/moment"
)

// Leash ends once, for good. It is safe for use by many goroutines.
type Leash struct {
	good   time.Duration // after sent
	rest   time.Duration // how long the timer sleeps at most
	cause  error
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	sent  moment.Moment
	timer *time.Timer
	over  bool // lost or dropped
	lost  bool
}

// New returns a leash that ends with cause once good has passed since sent, and
// with parent. It must be dropped or lost in the end.
func New(parent context.Context, sent moment.Moment, good time.Duration, cause error) *Leash {
	return start(parent, &Leash{good: good, rest: MaxRest, cause: cause, sent: sent})
}

// NewWatched is New for an owner who calls Check within MaxRest of each time that the
// machine wakes from a suspension. Its timer sleeps until the end.
func NewWatched(parent context.Context, sent moment.Moment, good time.Duration, cause error) *Leash {
	return start(parent, &Leash{good: good, rest: math.MaxInt64, cause: cause, sent: sent})
}

func start(parent context.Context, l *Leash) *Leash {
	l.ctx, l.cancel = context.WithCancelCause(parent)
	l.mu.Lock() // ring may come before AfterFunc has returned
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(l.untilRing(), l.ring)
	return l
}

// MaxRest is how long after a suspension of the machine those may go on untold who
// only wait for Done.
const MaxRest = 2 * time.Second

// untilRing is how long the timer may sleep.
func (l *Leash) untilRing() time.Duration { return min(l.rest, max(0, l.sent.Until(l.good))) }

// Context is what ends.
func (l *Leash) Context() context.Context { return leashed{l.ctx, l} }

// Extend moves the end to good after sent, never to an earlier moment. It is
// false if the leash has ended: a late answer never revives it.
func (l *Leash) Extend(sent moment.Moment) bool { return l.ExtendAt(moment.Now(), sent) }

// ExtendAt is Extend for those who extend many: now is a moment after the answer. If
// the end falls between now and the call and nobody was told, it is extended.
func (l *Leash) ExtendAt(now, sent moment.Moment) bool {
	if l.checkAt(now) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return false
	}
	if sent.Sub(l.sent) > 0 {
		l.sent = sent
	}
	return true
}

// Check ends the leash if its time is up.
func (l *Leash) Check() { l.check() }

// Sent is the moment from which the time runs.
func (l *Leash) Sent() moment.Moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// Lose ends the leash with its cause, unless it was dropped before.
func (l *Leash) Lose() { l.end(true) }

// Drop ends the leash because it is not needed any more, and reports whether it
// was lost before.
func (l *Leash) Drop() (lost bool) {
	l.check()
	l.end(false)
	return l.Lost()
}

// Lost reports whether the leash ended with its cause.
func (l *Leash) Lost() bool {
	l.check()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Over reports whether the leash has ended, as of when somebody last looked at the
// clocks.
func (l *Leash) Over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

func (l *Leash) end(lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock() // after the cancelling: whoever finds it over finds it cancelled
	if l.over {
		return
	}
	l.over, l.lost = true, lost
	l.timer.Stop()
	if lost {
		l.cancel(l.cause)
	} else {
		l.cancel(context.Canceled)
	}
}

// check loses the leash if its time is up. It reports whether it has ended.
func (l *Leash) check() (over bool) { return l.checkAt(moment.Now()) }

func (l *Leash) checkAt(now moment.Moment) (over bool) {
	l.mu.Lock()
	over = l.over
	late := !over && now.Sub(l.sent) >= l.good
	l.mu.Unlock()
	if late {
		l.end(true)
	}
	return over || late
}

// ring is the timer's: it goes off at what was the end when it was set, or before.
func (l *Leash) ring() {
	if l.check() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.timer.Reset(l.untilRing())
	}
}

// leashed asks the clocks before it says that it has not ended.
type leashed struct {
	context.Context
	leash *Leash
}

// Err implements [context.Context].
func (c leashed) Err() error {
	c.leash.check()
	return c.Context.Err()
}

// Done implements [context.Context].
func (c leashed) Done() <-chan struct{} {
	c.leash.check()
	return c.Context.Done()
}
