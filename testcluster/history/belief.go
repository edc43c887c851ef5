package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/semanode/sema"
)

// What clients believe of their own holds.

// belief is the time during which a client believes that it holds.
type belief struct {
	token       uint64
	from, until time.Duration
	op          *Op // that acquired it, nil if it was not recorded
	text        string
}

// exclusion: see [Exclusion]. Beliefs that only touch exclude each other.
func exclusion(e *evidence) (f finding) {
	for _, s := range e.semaphores {
		beliefs := e.beliefs(s)
		for i, a := range beliefs {
			for _, b := range beliefs[i+1:] {
				if b.from >= a.until {
					break
				}
				if a.token == b.token || a.from >= b.until {
					continue
				}
				f.violations = append(f.violations, story(fmt.Sprintf("two clients held %q at once, from %s to %s, with tokens %d and %d",
					s.name, clock(b.from), clock(min(a.until, b.until)), a.token, b.token), []*Op{a.op, b.op},
					append([]string{a.text, b.text}, append(e.ledger.tell(a.token), e.ledger.tell(b.token)...)...)...))
			}
		}
	}
	return f
}

// beliefs are all of a semaphore that last for any time, in the order in which they begin.
func (e *evidence) beliefs(s *semaphore) []belief {
	var all []belief
	handled := map[uint64]bool{}
	for _, h := range s.holds {
		handled[h.Token] = true
		all = append(all, belief{token: h.Token, from: h.From, until: h.Until, op: e.ops[h.Op], text: h.String()})
	}
	good := map[uint64]time.Duration{} // by token: as far as the client's own calls tell
	for _, op := range s.ops {
		token := cmp.Or(op.acquired(), op.touched())
		if g := s.byToken[token]; g != nil {
			good[token] = max(good[token], op.Start+g.timeout-sema.DriftMargin(g.timeout))
		}
	}
	for _, g := range s.tokens {
		if g.told && !handled[g.token] {
			all = append(all, belief{token: g.token, from: g.by.End, until: good[g.token], op: g.by})
		}
	}
	gone := map[uint64]time.Duration{} // by token: when the client gave it up, was told, or somebody used force
	note := func(token uint64, at time.Duration) {
		if first, ok := gone[token]; !ok || at < first {
			gone[token] = at
		}
	}
	for _, g := range s.tokens {
		for _, op := range g.enders {
			note(g.token, op.Start)
		}
	}
	for _, op := range s.ops {
		if op.Kind == Touch && op.Class == NotHeld {
			note(op.Token, op.End)
		}
	}
	for i, b := range all {
		if at, ok := gone[b.token]; ok {
			all[i].until = min(b.until, at)
		}
		if b.text == "" {
			all[i].text = fmt.Sprintf("%s to %s: %s, from call %d, believed that it held %q, token %d",
				clock(b.from), clock(all[i].until), b.op.Client, b.op.ID, s.name, b.token)
		}
	}
	all = slices.DeleteFunc(all, func(b belief) bool { return b.from >= b.until })
	slices.SortStableFunc(all, func(a, b belief) int { return cmp.Compare(a.from, b.from) })
	return all
}

// releasedBy reports whether by then somebody had begun to release the hold, whoever
// had it. Its holder need not be told before the next one then.
func (g *grant) releasedBy(at time.Duration) bool {
	return slices.ContainsFunc(g.enders, func(op *Op) bool { return op.Start <= at })
}

// toldInTime: see [ToldInTime].
func toldInTime(e *evidence) (f finding) {
	for _, s := range e.semaphores {
		for _, h := range s.holds {
			if !h.Lost || h.Until <= h.From { // it was lost before the client had it
				continue
			}
			own := e.ops[h.Op]
			if h.Deadline != 0 && h.Until > h.Deadline {
				f.violations = append(f.violations, story(fmt.Sprintf("%s was told at %s that its hold on %q, token %d, was lost; its deadline was %s",
					h.Client, clock(h.Until), s.name, h.Token, clock(h.Deadline)), []*Op{own}, h.String()))
			}
			next := slices.IndexFunc(s.ops, func(op *Op) bool {
				return op.acquired() > h.Token && op.End < h.Until && !s.byToken[h.Token].releasedBy(op.End)
			})
			if next >= 0 {
				f.violations = append(f.violations, story(fmt.Sprintf("%s was told at %s that its hold on %q, token %d, was lost; somebody else had been given token %d at %s",
					h.Client, clock(h.Until), s.name, h.Token, s.ops[next].Info.Token, clock(s.ops[next].End)), []*Op{own, s.ops[next]},
					append([]string{h.String()}, e.ledger.tell(h.Token)...)...))
			}
		}
	}
	return f
}
