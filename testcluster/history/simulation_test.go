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
	told     bool
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

// begin notes that a call begins.
func (w *world) begin(client string, kind history.Kind, name string, token uint64) int {
	w.seq++
	op := history.Op{ID: len(w.ops) + 1, Client: client, Kind: kind, Name: name, Token: token, Start: w.now, StartSeq: w.seq}
	if kind == history.Acquire || kind == history.Wait {
		op.Owner, op.Timeout = fmt.Sprintf("%s-%d", client, op.ID), simTimeout
	}
	w.ops = append(w.ops, op)
	return op.ID - 1
}

// end notes the answer, unless the call has ended.
func (w *world) end(i int, info sema.Info, err error) bool {
	op := &w.ops[i]
	if op.Outcome != history.Pending {
		return false
	}
	w.seq++
	op.End, op.EndSeq, op.Info = w.now, w.seq, info
	op.Outcome, op.Class = history.Classify(err)
	return true
}

// send lets a call travel, be decided and answered. then runs when the client has
// an answer, or has given up.
func (w *world) send(i int, decide func() (sema.Info, error), then func()) {
	travel, back := w.upTo(15), w.upTo(15)
	if w.chance(w.unknown) { // the answer is lost, and perhaps the call
		if w.chance(70) {
			w.at(w.upTo(150), func() { _, _ = decide() })
		}
		w.at(60*time.Millisecond, func() {
			w.end(i, sema.Info{}, sema.ErrOutcomeUnknown)
			then()
		})
		return
	}
	w.at(travel, func() {
		info, err := decide()
		w.at(back, func() {
			w.end(i, info, err)
			then()
		})
	})
}

// live is the life of a client: one thing after another.
func (w *world) live(client string) {
	next := func() { w.at(w.upTo(40), func() { w.live(client) }) }
	if w.calls--; w.calls < 0 {
		return
	}
	name := fmt.Sprint("n", w.rng.IntN(w.names))
	s := w.sems[name]
	switch roll := w.rng.IntN(100); {
	case roll < 35:
		i := w.begin(client, history.Acquire, name, 0)
		w.send(i, w.acquire(s, i), func() { w.use(client, i, next) })
	case roll < 65:
		w.wait(client, name, next)
	case roll < 80:
		i := w.begin(client, history.Get, name, 0)
		w.send(i, func() (sema.Info, error) { return w.get(s, w.broken(staleGet, 20)) }, next)
	case roll < 88:
		i := w.begin(client, history.Stale, name, 0)
		w.send(i, func() (sema.Info, error) { return w.get(s, w.chance(50)) }, next)
	case roll < 92 && s.held != nil:
		token := s.held.token // as an administrator saw it
		i := w.begin(client, history.Force, name, token)
		w.send(i, func() (sema.Info, error) {
			if s.held == nil {
				return sema.Info{}, sema.ErrNotFound
			}
			if s.held.token != token {
				return sema.Info{}, sema.ErrNotHeld
			}
			h := s.held
			w.free(s)
			return describe(sema.ForcedReleased, name, h), nil
		}, next)
	default:
		next()
	}
}

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

// wait is a call that waits in line, and gives up at some time.
func (w *world) wait(client, name string, next func()) {
	s := w.sems[name]
	i := w.begin(client, history.Wait, name, 0)
	op := w.ops[i]
	over := func() { w.use(client, i, next) }
	me := &waiter{op: i}
	me.answer = func(h *simHold) {
		w.at(w.upTo(15), func() {
			if !me.gone && w.end(i, describe(sema.Acquired, name, h), nil) {
				over()
			}
		})
	}
	w.at(w.upTo(15), func() {
		if s.held == nil {
			me.answer(w.grant(s, op.Owner))
			return
		}
		s.line = append(s.line, me)
		position := len(s.line)
		w.at(w.upTo(15), func() {
			if o := &w.ops[i]; o.Outcome == history.Pending {
				w.seq++
				o.Places = append(o.Places, history.Told{At: w.now, Seq: w.seq, Position: position})
			}
		})
	})
	w.at(100*time.Millisecond+w.upTo(400), func() { w.giveUp(s, me, over) })
}

// giveUp takes a wait out of the line, or gives back what it was granted.
func (w *world) giveUp(s *simulated, me *waiter, over func()) {
	if w.ops[me.op].Outcome != history.Pending {
		return
	}
	me.gone = true
	lost := w.chance(w.unknown)
	w.at(w.upTo(15), func() {
		if lost && w.chance(50) || w.broken(ghost, 50) {
			return
		}
		s.line = slices.DeleteFunc(s.line, func(other *waiter) bool { return other == me })
		if s.held != nil && s.held.owner == w.ops[me.op].Owner {
			w.free(s)
		}
	})
	err := sema.ErrNoLeader
	if lost {
		err = sema.ErrOutcomeUnknown
	}
	w.at(15*time.Millisecond+w.upTo(15), func() {
		w.end(me.op, sema.Info{}, err)
		over()
	})
}

// use is what a client does with what it was answered.
func (w *world) use(client string, i int, next func()) {
	op := w.ops[i]
	if op.Outcome != history.OK || op.Info.Status != sema.Acquired {
		next()
		return
	}
	switch roll := w.rng.IntN(100); {
	case roll < 10: // it dies at work
		w.at(simTimeout+w.upTo(100), next)
	case roll < 60:
		w.at(w.upTo(80), func() { w.release(client, op, next) })
	case roll < 80:
		w.at(w.upTo(350), func() {
			t := w.begin(client, history.Touch, op.Name, op.Info.Token)
			w.send(t, w.touch(op), func() { w.at(w.upTo(80), func() { w.release(client, op, next) }) })
		})
	case w.now-op.Start < simTimeout/3:
		w.keep(client, op, op.Start, next)
	default: // it was granted nobody knows when
		t := w.begin(client, history.Touch, op.Name, op.Info.Token)
		w.send(t, w.touch(op), func() {
			if w.ops[t].Outcome != history.OK {
				w.release(client, op, next)
				return
			}
			w.keep(client, op, w.ops[t].Start, next)
		})
	}
}

func (w *world) release(client string, acquired history.Op, next func()) {
	s, token := w.sems[acquired.Name], acquired.Info.Token
	i := w.begin(client, history.Release, acquired.Name, token)
	w.send(i, func() (sema.Info, error) {
		if s.held != nil && (s.held.token == token || w.broken(wrongRelease, 100)) {
			w.free(s)
		} else if s.held != nil {
			return sema.Info{}, sema.ErrNotHeld
		}
		return sema.Info{}, nil
	}, next)
}

func (w *world) touch(acquired history.Op) func() (sema.Info, error) {
	s := w.sems[acquired.Name]
	return func() (sema.Info, error) {
		h := s.held
		if h == nil || h.token != acquired.Info.Token {
			return sema.Info{}, sema.ErrNotHeld
		}
		if !w.broken(deafTouch, 50) {
			h.deadline = max(h.deadline, w.now+h.timeout)
			w.watch(s, h)
		}
		return describe(sema.Acquired, acquired.Name, h), nil
	}
}

// keep is a lock handle: it is touched by calls that nobody records, until the client
// is done with it or it is lost.
func (w *world) keep(client string, op history.Op, sent time.Duration, next func()) {
	hold := history.Hold{Op: op.ID, Client: client, Name: op.Name, Owner: op.Owner, Token: op.Info.Token, From: w.now}
	good := simTimeout - sema.DriftMargin(simTimeout)
	deadline := sent + good
	over := false
	end := func(lost bool) {
		over = true
		hold.Until, hold.Lost, hold.Deadline = w.now, lost, deadline
		w.holds = append(w.holds, hold)
	}
	var watch, beat func()
	watch = func() {
		if over {
			return
		}
		if w.now >= deadline {
			end(true)
			w.release(client, op, next)
			return
		}
		late := time.Duration(0)
		if w.fault == lateTelling {
			late = 50 * time.Millisecond
		}
		w.at(deadline-w.now+late, watch)
	}
	beat = func() {
		sent := w.now
		w.at(w.upTo(15), func() {
			_, err := w.touch(op)()
			w.at(w.upTo(15), func() {
				switch {
				case over || w.chance(50): // the answer is lost
				case err != nil:
					end(true)
					next()
				default:
					deadline = max(deadline, sent+good)
				}
			})
		})
		if !over {
			w.at(simTimeout/3, beat)
		}
	}
	watch()
	w.at(simTimeout/3, beat)
	w.at(w.upTo(600), func() {
		if !over {
			end(false)
			w.release(client, op, next)
		}
	})
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
