package cluster

import (
	"sync"
	"time"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/host"
)

const (
	// clockTick is how often the leader looks at its own clock.
	clockTick = 100 * time.Millisecond
	// pauseLimit is how much later than a tick should have come means that this
	// process, or its machine, was stopped.
	pauseLimit = time.Second
	// pauseGrace is how long after a pause nothing is expired, so that touches
	// that wait in sockets and queues go first.
	pauseGrace = 2 * time.Second
)

// clock counts cluster time during one term of office: on from the state
// machine's clock, by this machine's monotonic clock. While a machine is
// suspended that clock stands still, and with it cluster time: time lost is
// given to the holders.
type clock struct {
	base    fsm.Time
	machine host.Clock
	start   time.Duration // by the machine's clock

	mu        sync.Mutex
	lastTick  time.Duration // since start
	graceEnds time.Duration // since start
}

func newClock(base fsm.Time, machine host.Clock) *clock {
	return &clock{base: base, machine: machine, start: machine.Monotonic()}
}

func (c *clock) elapsed() time.Duration { return c.machine.Monotonic() - c.start }

// now returns cluster time.
func (c *clock) now() fsm.Time { return c.base.Add(c.elapsed()) }

// mayExpire reports whether overdue holds may be ended now: not within the
// grace after a pause. The watcher of deadlines calls it every clockTick, which
// is how a pause is noticed.
func (c *clock) mayExpire() bool {
	now := c.elapsed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if now-c.lastTick > clockTick+pauseLimit {
		c.graceEnds = now + pauseGrace
	}
	c.lastTick = now
	return now >= c.graceEnds
}
