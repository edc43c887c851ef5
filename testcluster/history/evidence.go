package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/semanode/sema"
)

// evidence is a history, sorted for those who judge it.
type evidence struct {
	history    History
	limits     Limits
	answered   int              // ops without an error
	flaws      []string         // of the recording
	asked      map[asker]*Op    // the acquires
	semaphores []*semaphore     // by name, ascending
	ops        map[int]*Op      // by ID
	ledger     *ledger          // nil without a journal, or if it cannot be replayed
	ledgerErr  error            // why it cannot
	seen       map[uint64]*Op   // by token: the first to end of the answers that describe it
	described  map[uint64][]*Op // by token: one answer for each name and owner it was described with
}

// semaphore is what there is about one name.
type semaphore struct {
	name    string
	ops     []*Op    // in the order in which they began
	holds   []*Hold  // likewise
	tokens  []*grant // ascending
	byToken map[uint64]*grant
}

// grant is what is known of one hold.
type grant struct {
	token   uint64
	owner   string
	by      *Op  // the acquire that got it, nil if nobody recorded one
	told    bool // by was answered with this token
	timeout time.Duration
	// overdue is when the hold can be overdue at the earliest, and kept the op from
	// whose start that counts; nil if a handle is what kept it.
	overdue time.Duration
	kept    *Op
	// enders are the calls that ended it, or may have, because their clients asked for that.
	enders []*Op
	// dropped is when a handle was done with it, and less than zero if none was.
	dropped time.Duration
}

func newEvidence(h History, j Journal, l Limits) *evidence {
	e := &evidence{history: h, limits: l, asked: map[asker]*Op{}, ops: map[int]*Op{},
		seen: map[uint64]*Op{}, described: map[uint64][]*Op{}}
	if j != nil {
		e.ledger, e.ledgerErr = replay(j, l)
	}
	byName := map[string]*semaphore{}
	of := func(name string) *semaphore {
		s := byName[name]
		if s == nil {
			s = &semaphore{name: name, byToken: map[uint64]*grant{}}
			byName[name] = s
		}
		return s
	}
	for i := range h.Ops {
		op := &h.Ops[i]
		e.add(op)
		of(op.Name).ops = append(of(op.Name).ops, op)
	}
	for i := range h.Holds {
		hold := &h.Holds[i]
		of(hold.Name).holds = append(of(hold.Name).holds, hold)
	}
	e.semaphores = slices.SortedFunc(maps.Values(byName), func(a, b *semaphore) int { return cmp.Compare(a.name, b.name) })
	for _, s := range e.semaphores {
		slices.SortStableFunc(s.ops, func(a, b *Op) int { return cmp.Or(cmp.Compare(a.StartSeq, b.StartSeq), cmp.Compare(a.Start, b.Start)) })
		e.findGrants(s)
	}
	return e
}

// add takes in an op.
func (e *evidence) add(op *Op) {
	if e.ops[op.ID] != nil {
		e.flaws = append(e.flaws, fmt.Sprintf("two calls have the number %d", op.ID))
	}
	e.ops[op.ID] = op
	if op.Outcome == OK {
		e.answered++
	}
	if op.acquires() {
		by := asker{op.Name, op.Owner}
		if other := e.asked[by]; other != nil {
			e.flaws = append(e.flaws, fmt.Sprintf("calls %d and %d acquire %q as the same owner, %q: nobody can tell whose hold is whose",
				other.ID, op.ID, op.Name, op.Owner))
		}
		e.asked[by] = op
	}
	token := op.shows()
	if token == 0 {
		return
	}
	if first := e.seen[token]; first == nil || op.End < first.End {
		e.seen[token] = op
	}
	same := func(other *Op) bool { return other.Name == op.Name && other.Info.Owner == op.Info.Owner }
	if !slices.ContainsFunc(e.described[token], same) {
		e.described[token] = append(e.described[token], op)
	}
}

// findGrants collects what is known of each hold of a semaphore.
func (e *evidence) findGrants(s *semaphore) {
	for _, op := range s.ops {
		if token := op.acquired(); token != 0 {
			if g := e.grant(s, token, op.Owner); !g.told {
				g.owner, g.by, g.told = op.Owner, op, true
			}
		} else if token := cmp.Or(op.shows(), op.touched()); token != 0 {
			e.grant(s, token, op.Info.Owner)
		}
	}
	for _, h := range s.holds {
		e.grant(s, h.Token, h.Owner)
	}
	if e.ledger != nil {
		for _, g := range e.ledger.grants {
			if g.name == s.name {
				e.grant(s, g.token, g.owner)
			}
		}
	}
	s.tokens = slices.SortedFunc(maps.Values(s.byToken), func(a, b *grant) int { return cmp.Compare(a.token, b.token) })
	for _, g := range s.tokens {
		if g.by != nil {
			g.timeout = cmp.Or(g.by.Timeout, g.by.Info.Timeout)
			g.keep(g.by.Start, g.by)
		}
	}
	for _, op := range s.ops {
		if g := s.byToken[op.touched()]; g != nil && g.by != nil {
			g.keep(op.Start, op)
		}
		if op.Kind == Release || op.Kind == Force {
			s.addEnder(op)
		}
	}
	for _, h := range s.holds {
		g := s.byToken[h.Token]
		if h.Deadline > g.overdue {
			g.overdue, g.kept = h.Deadline, nil
		}
		if !h.Lost && (g.dropped < 0 || h.Until < g.dropped) {
			g.dropped = h.Until
		}
	}
}

// addEnder notes the holds that the op may have ended.
func (s *semaphore) addEnder(op *Op) {
	among := s.tokens
	if g := s.byToken[op.Token]; g != nil {
		among = []*grant{g}
	}
	for _, g := range among {
		if op.mayEnd(g) {
			g.enders = append(g.enders, op)
		}
	}
}

// grant returns what is known of the hold with this token, under the owner that it
// was first seen with.
func (e *evidence) grant(s *semaphore, token uint64, owner string) *grant {
	g := s.byToken[token]
	if g == nil {
		g = &grant{token: token, dropped: -1}
		s.byToken[token] = g
	}
	if g.owner == "" && owner != "" {
		g.owner, g.by = owner, e.asked[asker{s.name, owner}]
	}
	return g
}

// keep notes that the hold was good for its timeout at start, or later.
func (g *grant) keep(start time.Duration, op *Op) {
	if until := start + g.timeout - sema.DriftMargin(g.timeout); g.kept == nil || until > g.overdue {
		g.overdue, g.kept = until, op
	}
}

// stands reports whether the hold cannot have ended, in any way that the contract
// allows, when op ended.
func (g *grant) stands(op *Op) bool {
	if op.End >= g.overdue || g.dropped >= 0 && g.dropped <= op.End {
		return false
	}
	return !slices.ContainsFunc(g.enders, func(ender *Op) bool { return !precedes(op, ender) })
}
