package history

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/anishathalye/porcupine"
)

// state is the model's: the token of the hold that stands, or zero, and the
// highest that was granted.
type state struct{ held, highest uint64 }

// step is what happens to the state, or what an answer says of it.
type step struct {
	kind  stepKind
	token uint64
	after uint64 // stepGrant: the token that was granted before, or zero
}

type stepKind int

const (
	stepGrant stepKind = iota
	stepEnd
	stepHeld
	stepNotHeld
	stepFree
	stepExisted
)

// take carries out a step. It is false if the step cannot be taken.
func (s state) take(st step) (state, bool) {
	switch st.kind {
	case stepGrant:
		return state{st.token, st.token}, s.held == 0 && s.highest == st.after
	case stepEnd:
		return state{0, s.highest}, s.held == st.token
	case stepHeld:
		return s, s.held == st.token
	case stepNotHeld:
		return s, s.held != st.token
	case stepFree:
		return s, s.held == 0
	}
	return s, s.highest >= st.token
}

// String tells the state as a drawing shows it.
func (s state) String() string {
	if s.held == 0 {
		return fmt.Sprintf("free; highest token %d", s.highest)
	}
	return fmt.Sprintf("held with token %d", s.held)
}

// drawn is a step with the places between which it is taken, as a drawing shows
// it and as the search has it.
type drawn struct {
	from, to     int
	client, text string
	step
}

// budget bounds a search. Once it is spent no step can be taken, so that the search
// ends, and what it says is worth nothing.
type budget struct{ left atomic.Int64 }

func (b *budget) spent() bool { return b.left.Load() < 0 }

// model is what porcupine is given to search with.
func model(first state, b *budget) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return first },
		Step: func(s, input, _ any) (bool, any) {
			if b.left.Add(-1) < 0 {
				return false, s
			}
			next, ok := s.(state).take(input.(drawn).step)
			return ok, next
		},
		Hash:              func(s any) uint64 { return s.(state).held*31 + s.(state).highest },
		DescribeOperation: func(input, _ any) string { return input.(drawn).text },
		DescribeState:     func(s any) string { return s.(state).String() },
	}
}

// steps are the chain's grants and ends between the bounds that they have by now, and
// the choices that are left.
func (p *puzzle) stepsLeft() []drawn {
	var steps []drawn
	before := uint64(0)
	for i, g := range p.chain.tokens {
		grant, end := p.chain.grant(i), p.chain.end(i)
		steps = append(steps,
			drawn{from: grant.earliest.at, to: grant.latest.at, step: step{kind: stepGrant, token: g.token, after: before}},
			drawn{from: end.earliest.at, to: end.latest.at, step: step{kind: stepEnd, token: g.token}})
		before = g.token
	}
	for _, ch := range p.choices {
		st := step{kind: stepFree}
		if ch.token >= 0 {
			st = step{kind: stepNotHeld, token: p.chain.tokens[ch.token].token}
		}
		steps = append(steps, drawn{from: ch.from, to: ch.to, step: st})
	}
	return steps
}

// search looks for an order of what is left. If there is none, it returns what
// cannot be placed.
func (p *puzzle) search(l Limits) (porcupine.CheckResult, []reason) {
	var b budget
	b.left.Store(int64(l.Steps))
	steps := p.stepsLeft()
	events := inOrder(steps)
	result := porcupine.CheckEventsTimeout(model(state{}, &b), events, l.Patience)
	if result == porcupine.Ok || result == porcupine.Illegal && !b.spent() {
		if result == porcupine.Illegal {
			return result, p.unplaced()
		}
		return result, nil
	}
	return porcupine.Unknown, nil
}

// maxUnplaced bounds how many calls a violation names that was found by search.
const maxUnplaced = 8

// unplaced are the choices of which not all can be true: the first, as long as they
// overlap. Each alone could be.
func (p *puzzle) unplaced() (reasons []reason) {
	for _, ch := range p.choices {
		if len(reasons) < maxUnplaced {
			reasons = append(reasons, ch.says())
		}
	}
	return reasons
}

// inOrder makes porcupine's events. Of those in the same place beginnings come
// first, and among these what changes nothing, so that a search finds it first.
func inOrder(steps []drawn) []porcupine.Event {
	type place struct {
		at, order int
		event     porcupine.Event
	}
	places := make([]place, 0, 2*len(steps))
	for id, st := range steps {
		order := id
		if st.kind != stepGrant && st.kind != stepEnd {
			order = id - len(steps)
		}
		places = append(places,
			place{st.from, order, porcupine.Event{Kind: porcupine.CallEvent, Value: st, Id: id}},
			place{st.to, len(steps) + id, porcupine.Event{Kind: porcupine.ReturnEvent, Id: id}})
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.order, b.order)) })
	events := make([]porcupine.Event, len(places))
	for i, place := range places {
		events[i] = place.event
	}
	return events
}
