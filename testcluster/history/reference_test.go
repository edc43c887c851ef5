package history_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster/history"
)

// The model of the package documentation, given to porcupine as it is written there:
// every answer is a step of its own, and every hold has an end that may come at any time
// from its earliest end on. It takes for ever with more than a few calls.

type refState struct{ hold, highest uint64 }

// refStep changes the state, or says that it cannot be taken.
type refStep func(refState) (refState, bool)

var refModel = porcupine.Model{
	Init: func() any { return refState{} },
	Step: func(s, input, _ any) (bool, any) {
		next, ok := input.(refStep)(s.(refState))
		return ok, next
	},
}

func refEnd(token uint64) refStep {
	return func(s refState) (refState, bool) {
		if s.hold == token {
			s.hold = 0
		}
		return s, true
	}
}

func refGrant(token uint64) refStep {
	return func(s refState) (refState, bool) { return refState{token, token}, s.hold == 0 && token > s.highest }
}

func refWhile(holds func(hold uint64) bool) refStep {
	return func(s refState) (refState, bool) { return s, holds(s.hold) }
}

// reference decides the histories of one semaphore, in which moments of the same
// time have no order.
type reference struct {
	h     history.History
	steps []porcupine.Operation
}

func (r *reference) add(from, to time.Duration, do refStep) {
	r.steps = append(r.steps, porcupine.Operation{Input: do, Call: int64(from), Return: int64(to)})
}

const forever = time.Duration(math.MaxInt64)

func (r *reference) decide() bool {
	granted := map[uint64]bool{}
	for _, op := range r.h.Ops {
		if token := op.Info.Token; token != 0 && !granted[token] {
			granted[token] = true
			r.addHold(token, op.Info.Owner)
		}
		r.addAnswer(op)
	}
	return porcupine.CheckOperations(refModel, r.steps)
}

// addHold adds the grant of a token and its end.
func (r *reference) addHold(token uint64, owner string) {
	by := r.h.Ops[slices.IndexFunc(r.h.Ops, func(op history.Op) bool { return op.Owner == owner })]
	told := by.Outcome == history.OK && by.Info.Status == sema.Acquired && by.Info.Token == token
	grantBy, endBy := forever, forever
	switch by.Outcome {
	case history.OK, history.Failed:
		if grantBy = by.End; !told {
			endBy = by.End
		}
	}
	r.add(by.Start, grantBy, refGrant(token))
	from := by.Start
	if told {
		from = r.overdue(token, by)
		for _, op := range r.h.Ops {
			ender := op.Kind == history.Release || op.Kind == history.Force
			if ender && op.Token == token && (op.Outcome != history.Failed || op.Class != history.Other) {
				from = min(from, op.Start)
			}
		}
		for _, hold := range r.h.Holds {
			if hold.Token == token && !hold.Lost {
				from = min(from, hold.Until)
			}
		}
	}
	if from > endBy {
		r.add(0, 0, refWhile(func(uint64) bool { return false }))
	}
	r.add(from, endBy, refEnd(token))
	if endBy != forever { // it is over by then, whoever ended it
		r.add(by.Start, endBy, func(s refState) (refState, bool) { return s, s.hold != token && s.highest >= token })
	}
}

// overdue is when a hold can be overdue at the earliest.
func (r *reference) overdue(token uint64, by history.Op) time.Duration {
	good := by.Timeout - sema.DriftMargin(by.Timeout)
	at := by.Start + good
	for _, op := range r.h.Ops {
		if op.Kind == history.Touch && op.Outcome == history.OK && op.Token == token {
			at = max(at, op.Start+good)
		}
	}
	for _, hold := range r.h.Holds {
		if hold.Token == token {
			at = max(at, hold.Deadline)
		}
	}
	return at
}

func (r *reference) addAnswer(op history.Op) {
	token := op.Info.Token
	is := func(hold uint64) bool { return hold == token }
	free := func(hold uint64) bool { return hold == 0 }
	switch {
	case op.Outcome == history.Pending || op.Outcome == history.Unknown:
	case op.Class == history.NotFound && op.Kind != history.Stale:
		r.add(op.Start, op.End, refWhile(free))
	case op.Class == history.NotHeld:
		r.add(op.Start, op.End, refWhile(func(hold uint64) bool { return hold != op.Token }))
	case op.Outcome == history.Failed:
	case op.Kind == history.Release, op.Kind == history.Force:
		r.add(op.Start, op.End, refEnd(op.Token))
	case op.Kind == history.Stale:
		r.add(op.Start, op.End, func(s refState) (refState, bool) { return s, s.highest >= token })
	case op.Kind == history.Get, op.Kind == history.Touch, op.Info.Status == sema.OwnedBySomeoneElse:
		r.add(op.Start, op.End, refWhile(is))
	case op.Info.Status == sema.ReleasedInTheMeanTime:
		r.add(op.Start, op.End, refWhile(free))
	case op.Info.Status == sema.ForcedReleased:
		by := r.h.Ops[slices.IndexFunc(r.h.Ops, func(by history.Op) bool { return by.Owner == op.Info.Owner })]
		from := max(op.Start, r.overdue(token, by))
		if from > op.End {
			r.add(0, 0, refWhile(func(uint64) bool { return false }))
		}
		r.add(from, op.End, func(s refState) (refState, bool) { return refState{0, s.highest}, s.hold == token })
	}
}

// The fast encoding decides as the slow one does, of services that keep their promises
// and of those that do not.
func TestEncodingAgreesWithTheModel(t *testing.T) {
	runs := uint64(4000)
	if testing.Short() {
		runs = 600
	}
	faults := []fault{"", earlyExpiry, twoHolders, staleGet, tokenReset, ghost, forgotten, wrongRelease, deafTouch}
	broken, judged := 0, 0
	for seed := range runs {
		w := newWorld(seed, faults[seed%uint64(len(faults))], 4, 1, 14)
		w.unknown = 20
		h := forget(w.history())
		if seed%4 != 0 {
			h = garbled(h, seed)
		}
		if twoGrantsOfOneToken(h) { // which the slow one does not tell from two answers about one
			continue
		}
		judged++
		want := (&reference{h: h}).decide()
		got := history.Linearizable(h, nil, history.Limits{})
		if !want {
			broken++
		}
		if len(got.Undecided) > 0 || (len(got.Violations) == 0) != want {
			for i := range h.Ops {
				t.Log(h.Ops[i].String())
			}
			t.Fatalf("seed %d: by the model it is linearizable: %v; by the verdict: %v", seed, want, got)
		}
	}
	t.Logf("of %d histories %d are not linearizable", judged, broken)
	if judged < int(runs)*3/4 || broken < judged/5 || broken > judged*4/5 {
		t.Error("that says little")
	}
}

// garbled moves the times of some calls about, and swaps some answers.
func garbled(h history.History, seed uint64) history.History {
	rng := newWorld(seed, "", 0, 0, 0).rng
	ms := func(n int) time.Duration { return time.Duration(rng.IntN(n)) * time.Millisecond }
	for i := range h.Ops {
		op := &h.Ops[i]
		switch rng.IntN(6) {
		case 0:
			op.Start = max(0, op.Start-ms(100))
		case 1:
			op.End += ms(200)
		case 2:
			if op.Kind == history.Get && op.Outcome == history.OK {
				op.Outcome, op.Class, op.Info = history.Failed, history.NotFound, sema.Info{}
			}
		case 3:
			if op.Kind != history.Acquire && op.Kind != history.Wait && op.Outcome == history.OK {
				op.End += ms(300)
			}
		}
	}
	return h
}

func twoGrantsOfOneToken(h history.History) bool {
	seen := map[uint64]bool{}
	for _, op := range h.Ops {
		if (op.Kind == history.Acquire || op.Kind == history.Wait) && op.Outcome == history.OK && op.Info.Status == sema.Acquired {
			if seen[op.Info.Token] {
				return true
			}
			seen[op.Info.Token] = true
		}
	}
	return false
}
