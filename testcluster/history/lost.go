package history

import (
	"cmp"
	"fmt"

	"github.com/semanode/sema"
)

// nothingLost: see [NothingLost].
func nothingLost(e *evidence) (f finding) {
	if e.ledgerErr != nil {
		f.violations = append(f.violations, Violation{Text: "the log cannot be carried out: " + e.ledgerErr.Error()})
	}
	if e.ledger == nil {
		f.skipped = append(f.skipped, "without a journal nobody can tell whether the log has what was acknowledged")
	}
	for _, s := range e.semaphores {
		for _, g := range s.tokens {
			if !g.told {
				continue
			}
			if v, lost := e.notLogged(s, g); lost {
				f.violations = append(f.violations, v)
			}
			if v, lost := e.goneEarly(s, g); lost {
				f.violations = append(f.violations, v)
			}
		}
		for _, h := range s.holds {
			if v, lost := e.handleLost(s, h); lost {
				f.violations = append(f.violations, v)
			}
		}
	}
	return f
}

// notLogged: an acknowledged hold has to be in the log, under its owner.
func (e *evidence) notLogged(s *semaphore, g *grant) (Violation, bool) {
	if e.ledger == nil {
		return Violation{}, false
	}
	if logged, ok := e.ledger.grants[g.token]; ok && logged.asker == (asker{s.name, g.owner}) {
		return Violation{}, false
	}
	return story(fmt.Sprintf("%s was given %q, token %d, and the log does not have that", g.by.Client, s.name, g.token),
		[]*Op{g.by}, e.ledger.tell(g.token)...), true
}

// goneEarly looks for the first answer that shows an acknowledged hold gone while
// it has to stand.
func (e *evidence) goneEarly(s *semaphore, g *grant) (Violation, bool) {
	for _, op := range s.ops {
		if op.over() && e.contradicts(op, g) && precedes(g.by, op) && (g.stands(op) || endsEarly(op, g)) {
			return story(fmt.Sprintf("%s held %q, token %d, until %s at the least; it was gone by %s, and nobody had released it",
				g.by.Client, s.name, g.token, clock(g.overdue), clock(op.End)), []*Op{g.by, g.kept, op}, e.ledger.tell(g.token)...), true
		}
	}
	return Violation{}, false
}

// endsEarly reports whether op says that the hold was overdue before it can be.
func endsEarly(op *Op, g *grant) bool {
	return op.shows() == g.token && op.Info.Status == sema.ForcedReleased && op.Kind == Acquire && op.End < g.overdue
}

// contradicts reports whether an answer says that the semaphore was not, or no
// longer, held with this token at some time during the call.
func (e *evidence) contradicts(op *Op, g *grant) bool {
	other := op.shows() != 0 && op.shows() != g.token
	switch {
	case op.Kind == Touch && op.Class == NotHeld:
		return op.Token == g.token
	case op.Kind == Get && op.Class == NotFound, op.Kind == Force && op.Class == NotFound:
		return true
	case op.Outcome != OK:
		return false
	case op.Kind == Touch, op.Kind == Get:
		return other || op.Kind == Touch && op.touched() != g.token
	case !op.acquires():
		return false
	}
	switch op.Info.Status {
	case sema.OwnedBySomeoneElse:
		return other && (!e.limits.SpuriousRefusals || op.Info.Token > g.token)
	case sema.ReleasedInTheMeanTime, sema.ForcedReleased:
		return true
	}
	return other
}

// handleLost: a handle that says "lost" before its deadline was told so by the
// service, since nothing else ends it that early.
func (e *evidence) handleLost(s *semaphore, h *Hold) (Violation, bool) {
	if !h.Lost || h.Deadline == 0 || h.Until >= h.Deadline-h.WindDown {
		return Violation{}, false
	}
	for _, op := range s.byToken[h.Token].enders {
		if op.Start < h.Until || op.Start == h.Until && op.Client != h.Client { // its own comes after
			return Violation{}, false
		}
	}
	return story(fmt.Sprintf("%s held %q, token %d, until %s at the least; it was told at %s that it was gone, and nobody had released it",
		cmp.Or(h.Client, h.Owner), s.name, h.Token, clock(h.Deadline), clock(h.Until)),
		[]*Op{e.ops[h.Op]}, append([]string{h.String()}, e.ledger.tell(h.Token)...)...), true
}
