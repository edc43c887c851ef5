package cluster

import (
	"sync/atomic"
	"time"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/tally"
	"github.com/semanode/sema/transport"
)

// meters are what a node counts as it goes; [metrics] gives it names. What is counted
// for each command is gathered for the entry, or costs two additions. A node that has
// no registry has the zero value, in which nothing is timed: what it counts all the same
// is what happens seldom.
type meters struct {
	on                     bool
	clients, peers, within *transport.Calls // by whom the calls came; nil unless on

	entryCommands, entryTook *tally.Histogram // of entries that this node proposed
	logWrites, termWrites    *tally.Histogram
	waited, held             *tally.Histogram // of holds that this node's entries granted and ended
	free, handedOver         atomic.Uint64    // grants
	ended                    [endings]atomic.Uint64
	overloaded               atomic.Uint64 // commands refused by a full queue

	leaderChanges           atomic.Uint64
	snapshots               snapshotMeters
	diskBytes               atomic.Int64 // of log, term and vote; -1: not known
	overdue, overdueCounted atomic.Int64 // holds, and when, by the host's clock; 0: not yet
}

// The ways in which a hold ends.
const (
	endReleased = iota // by its owner
	endExpired         // overdue, and somebody waited or asked
	endSwept           // overdue for so long that nobody asks any more
	endForced          // by an administrator
	endUndone          // its owner was never told of it
	endings
)

var endingNames = [endings]string{"released", "expired", "swept", "forced", "undone"}

func newMeters() *meters {
	disk := []time.Duration{100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond,
		5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
		time.Second, 5 * time.Second}
	work := []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, 15 * time.Second,
		time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	m := &meters{
		on:      true,
		clients: transport.NewCalls(), peers: transport.NewCalls(), within: transport.NewCalls(),
		entryCommands: tally.New(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
		entryTook:     tally.Durations(disk...),
		logWrites:     tally.Durations(disk...),
		termWrites:    tally.Durations(disk...),
		waited:        tally.Durations(work...),
		held:          tally.Durations(work...),
	}
	m.diskBytes.Store(-1)
	return m
}

// timed carries out an operation and counts how long it took.
func timed(h *tally.Histogram, op func() error) error {
	if h == nil {
		return op()
	}
	began := time.Now()
	err := op()
	h.Observe(int64(time.Since(began)))
	return err
}

// entryTally is what the commands of one entry came to.
type entryTally struct {
	free, handedOver uint64
	ended            [endings]uint64
}

// note takes in one command.
func (m *meters) note(t *entryTally, c *fsm.Command, r *fsm.Result) {
	if r.Ended != 0 {
		t.ended[endingOf(c, r)]++
		m.held.Observe(int64(r.Held))
	}
	if r.Granted != nil {
		t.handedOver++
		m.waited.Observe(int64(r.Granted.Waited))
	}
	if r.New {
		t.free++
	}
}

// endingOf is why a command ended a hold.
func endingOf(c *fsm.Command, r *fsm.Result) int {
	switch {
	case c.Kind == fsm.Release && c.Token != 0:
		return endReleased
	case c.Kind == fsm.ForceRelease:
		return endForced
	case c.Kind == fsm.Expire && r.Granted == nil:
		return endSwept
	case c.Kind == fsm.Expire, c.Kind == fsm.Acquire:
		return endExpired
	}
	return endUndone
}

// entry counts an entry that was applied.
func (m *meters) entry(e *entry, results []fsm.Result) {
	var t entryTally
	for _, p := range e.batch {
		for i := range p.commands {
			m.note(&t, &p.commands[i], &results[i])
		}
		results = results[len(p.commands):]
	}
	m.entryCommands.Observe(int64(e.size))
	m.entryTook.Observe(int64(e.took))
	add(&m.free, t.free)
	add(&m.handedOver, t.handedOver)
	for i := range t.ended {
		add(&m.ended[i], t.ended[i])
	}
}

func add(to *atomic.Uint64, n uint64) {
	if n > 0 {
		to.Add(n)
	}
}
