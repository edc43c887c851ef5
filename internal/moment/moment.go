// Package moment measures how long something took, including the time for which
// the machine was suspended. Go's clock is CLOCK_MONOTONIC, which stands still
// meanwhile; the timeout of a hold does not.
package moment

import "time"

// maxReading is how long the readings of two clocks may lie apart to be compared:
// so exact is what this package tells.
const maxReading = time.Millisecond

// Moment is a point in time on this machine. The zero Moment is long ago.
type Moment struct {
	at        time.Time
	suspended time.Duration // for how long the machine had been suspended since it started
}

// Now returns the present moment.
func Now() Moment { return Moment{time.Now(), suspended()} }

// Elapsed is how long ago the moment was.
func (m Moment) Elapsed() time.Duration { return time.Since(m.at) + suspended() - m.suspended }

// Sub is how much later m was than before.
func (m Moment) Sub(before Moment) time.Duration {
	return m.at.Sub(before.at) + m.suspended - before.suspended
}

// Slept is for how long the machine was suspended since the moment, 0 if it was
// not.
func (m Moment) Slept() time.Duration { return Now().SleptSince(m) }

// SleptSince is for how long the machine was suspended between an earlier moment and
// m, 0 if it was not.
func (m Moment) SleptSince(before Moment) time.Duration {
	if d := m.suspended - before.suspended; d > 2*maxReading {
		return d
	}
	return 0
}

// Until is how long it is until d has passed since the moment.
func (m Moment) Until(d time.Duration) time.Duration { return d - m.Elapsed() }
