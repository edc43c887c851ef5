// Package seldom keeps a log from being filled by whoever can provoke a line of it, such
// as a stranger who connects again and again.
package seldom

import (
	"sync"
	"time"
)

// Gate lets a line through every now and then: burst at once, and then one each time
// that every has passed. The zero value lets nothing through; any goroutine may use it.
type Gate struct {
	every time.Duration
	burst int

	mu      sync.Mutex
	left    int // that may pass now
	since   time.Time
	omitted int // since the last that passed
}

// NewGate returns a Gate.
func NewGate(every time.Duration, burst int) *Gate {
	return &Gate{every: every, burst: burst, left: burst, since: time.Now()}
}

// Pass reports whether a line may be written, and how many were left out since the one
// before, which that line should tell.
func (g *Gate) Pass() (omitted int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.every > 0 {
		if n := time.Since(g.since) / g.every; n > 0 {
			g.left = int(min(n+time.Duration(g.left), time.Duration(g.burst)))
			g.since = time.Now()
		}
	}
	if g.left == 0 {
		g.omitted++
		return 0, false
	}
	g.left--
	omitted, g.omitted = g.omitted, 0
	return omitted, true
}
