package history_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster/history"
)

// The clients of the simulated service.

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
