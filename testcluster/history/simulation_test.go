package history_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster/history"
)

// fault is a promise that the simulated service breaks.
type fault string

const (
	earlyExpiry  fault = "early expiry"
	twoHolders   fault = "two holders"
	staleGet     fault = "stale get sold as fresh"
	tokenReset   fault = "token reset"
	lastFirst    fault = "last come, first served"
	ghost        fault = "a wait that was given up is granted"
	forgotten    fault = "an acknowledged hold is forgotten"
	wrongRelease fault = "a release frees whoever holds"
	lateTelling  fault = "a handle is told late"
	deafTouch    fault = "a touch is answered and forgotten"
)

// world is a tiny lock service and its clients, in simulated time. Calls travel,
// are decided at one moment each, and are answered, or not.
type world struct {
	rng     *rand.Rand
	fault   fault
	names   int
	calls   int // still to be begun
	now     time.Duration
	due     events
	token   uint64
	seq     uint64
	sems    map[string]*simulated
	ops     []history.Op
	holds   []history.Hold
	unknown int // of how many calls in a hundred the answer is lost
}

// simulated is a semaphore of the service.
type simulated struct {
	held, before *simHold // before is the one that stood last, for stale answers
	line         []*waiter
}

type simHold struct {
	token    uint64
	owner    string
	timeout  time.Duration
	deadline time.Duration
}

// waiter is an acquire in line.
type waiter struct {
	op     int
	gone   bool // its client has given up and does not listen any more
	answer func(*simHold)
}

const simTimeout = 300 * time.Millisecond

func newWorld(seed uint64, f fault, clients, names, calls int) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), fault: f, names: names, calls: calls, sems: map[string]*simulated{}, unknown: 8}
	for n := range names {
		w.sems[fmt.Sprint("n", n)] = &simulated{}
	}
	for c := range clients {
		w.at(w.upTo(20), func() { w.live(fmt.Sprint("c", c)) })
	}
	return w
}

// history runs the world to its end.
func (w *world) history() history.History {
	for len(w.due) > 0 {
		e := heap.Pop(&w.due).(simEvent)
		w.now = e.at
		e.do()
	}
	return history.History{Ops: w.ops, Holds: w.holds}
}

func (w *world) upTo(ms int) time.Duration { return time.Duration(w.rng.IntN(ms+1)) * time.Millisecond }
func (w *world) chance(percent int) bool   { return w.rng.IntN(100) < percent }

func (w *world) at(after time.Duration, do func()) {
	w.seq++
	heap.Push(&w.due, simEvent{w.now + after, w.seq, do})
}

// broken is true if the service has this fault, now and then.
func (w *world) broken(f fault, percent int) bool { return w.fault == f && w.chance(percent) }

func describe(status sema.Status, name string, h *simHold) sema.Info {
	return sema.Info{Status: status, Name: name, Owner: h.owner, Token: h.token, Timeout: h.timeout}
}

// acquire decides one try. As in the service, an overdue hold that was seen is
// ended only if it still is as it was seen.
func (w *world) acquire(s *simulated, i int) func() (sema.Info, error) {
	return func() (sema.Info, error) {
		op := w.ops[i]
		switch {
		case s.held == nil || w.broken(twoHolders, 10):
			return describe(sema.Acquired, op.Name, w.grant(s, op.Owner)), nil
		case s.held.deadline > w.now:
			return describe(sema.OwnedBySomeoneElse, op.Name, s.held), nil
		}
		h := s.held
		w.free(s)
		return describe(sema.ForcedReleased, op.Name, h), nil
	}
}

func (w *world) grant(s *simulated, owner string) *simHold {
	w.token += 1 + uint64(w.rng.IntN(3))
	if w.broken(tokenReset, 10) && w.token > 12 {
		w.token -= 11
	}
	good := simTimeout
	if w.fault == earlyExpiry {
		good /= 3
	}
	s.before = s.held
	s.held = &simHold{token: w.token, owner: owner, timeout: simTimeout, deadline: w.now + good}
	w.watch(s, s.held)
	return s.held
}

// watch ends a hold at its deadline if somebody waits for it.
func (w *world) watch(s *simulated, h *simHold) {
	w.at(h.deadline-w.now, func() {
		if s.held == h && h.deadline <= w.now && len(s.line) > 0 {
			w.free(s)
		}
	})
	if w.broken(forgotten, 10) {
		w.at(w.upTo(100), func() {
			if s.held == h {
				w.free(s)
			}
		})
	}
}

// free ends the hold and hands over to the line.
func (w *world) free(s *simulated) {
	s.before, s.held = s.held, nil
	if len(s.line) == 0 {
		return
	}
	at := 0
	if w.fault == lastFirst {
		at = len(s.line) - 1
	}
	next := s.line[at]
	s.line = slices.Delete(s.line, at, at+1)
	h := w.grant(s, w.ops[next.op].Owner)
	next.answer(h)
}

func (w *world) get(s *simulated, old bool) (sema.Info, error) {
	h := s.held
	if old {
		h = s.before
	}
	if h == nil {
		return sema.Info{}, sema.ErrNotFound
	}
	return describe(sema.OwnedBySomeoneElse, "", h), nil
}

// simEvent happens at a time; of those at one time, first come, first served.
type simEvent struct {
	at  time.Duration
	seq uint64
	do  func()
}

type events []simEvent

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(simEvent)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}
