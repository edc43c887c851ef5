package history

import (
	"fmt"
	"slices"

	"github.com/semanode/sema"
)

// linearizable: see [Linearizable].
func linearizable(e *evidence) (f finding) {
	for _, s := range e.semaphores {
		p := newPuzzle(e, s)
		conflict := p.conflict
		if conflict == nil {
			conflict = p.chain.conflict(p.absences)
		}
		if conflict != nil {
			f.violations = append(f.violations, p.violation(e, conflict))
		}
	}
	return f
}

// puzzle is the question whether the answers about one semaphore fit together.
type puzzle struct {
	semaphore *semaphore
	moments   *moments
	chain     *chain
	spans     map[*Op]span
	forced    map[int]*Op // by number of the token: the acquire that ended it
	steps     []drawn     // what each answer claims, for drawings
	absences  []absence
	conflict  []reason // found while it was set up
}

func newPuzzle(e *evidence, s *semaphore) *puzzle {
	p := &puzzle{semaphore: s, moments: newMoments(s.ops), chain: newChain(s.tokens), spans: map[*Op]span{}, forced: map[int]*Op{}}
	for _, sp := range p.moments.ops {
		p.spans[sp.Op] = sp
	}
	for i := range s.tokens {
		p.bindGrant(i)
	}
	for _, sp := range p.moments.ops {
		p.bindAnswer(sp, e.limits.SpuriousRefusals)
	}
	return p
}

// bindGrant says when a hold can have been granted and have ended, going by its
// acquire, its timeout and those who released it.
func (p *puzzle) bindGrant(i int) {
	g := p.chain.tokens[i]
	if g.by == nil {
		return
	}
	by := p.spans[g.by]
	own := []*Op{g.by}
	p.chain.grant(i).notBefore(by.from, because(own, "token %d cannot have been granted before %s, when call %d began", g.token, clock(g.by.Start), g.by.ID))
	switch {
	case g.told:
		p.chain.grant(i).notAfter(by.to, because(own, "token %d was granted by %s, when call %d was answered", g.token, clock(g.by.End), g.by.ID))
	case g.by.over():
		p.chain.end(i).notAfter(by.to, because(own, "token %d was no more at %s, when call %d ended without it", g.token, clock(g.by.End), g.by.ID))
	}
	at, why := p.endsFrom(g)
	p.chain.end(i).notBefore(at, why)
}

// endsFrom is the place from which on a hold may end. One that its client was never
// told of may be taken back at any time.
func (p *puzzle) endsFrom(g *grant) (int, reason) {
	if g.by == nil || !g.told {
		return 0, reason{}
	}
	at, why := p.moments.from(g.overdue), because([]*Op{g.by, g.kept}, "token %d was good until %s at the least", g.token, clock(g.overdue))
	if g.dropped >= 0 && p.moments.from(g.dropped) < at {
		at, why = p.moments.from(g.dropped), because([]*Op{g.by}, "token %d was in use until %s", g.token, clock(g.dropped))
	}
	for _, ender := range g.enders {
		if from := p.spans[ender].from; from < at {
			at, why = from, because([]*Op{g.by, ender}, "token %d stood until call %d released it, from %s on", g.token, ender.ID, clock(ender.Start))
		}
	}
	return at, why
}

// bindAnswer takes in what an answer says.
func (p *puzzle) bindAnswer(sp span, spurious bool) {
	if !sp.over() {
		return
	}
	shown := sp.shows()
	switch {
	case sp.acquires() && sp.Outcome == OK:
		p.bindAcquire(sp, spurious)
	case sp.touched() != 0:
		p.held(sp, sp.touched())
	case sp.Kind == Get && sp.Outcome == OK:
		p.held(sp, shown)
	case (sp.Kind == Get || sp.Kind == Force) && sp.Class == NotFound:
		p.free(sp)
	case (sp.Kind == Release || sp.Kind == Force) && sp.Outcome == OK, sp.Kind != Get && sp.Class == NotHeld:
		p.notHeld(sp, sp.Token)
	default:
		p.existed(sp, shown)
	}
}

func (p *puzzle) bindAcquire(sp span, spurious bool) {
	token := sp.Info.Token
	i, _ := p.chain.find(token)
	switch sp.Info.Status {
	case sema.Acquired:
		if other := p.chain.tokens[i].by; other != sp.Op {
			p.exclude(because([]*Op{other}, "call %d was given token %d", other.ID, token), because([]*Op{sp.Op}, "so was call %d", sp.ID))
		}
	case sema.OwnedBySomeoneElse:
		if spurious {
			p.existed(sp, token)
		} else {
			p.held(sp, token)
		}
	case sema.ReleasedInTheMeanTime:
		p.free(sp)
	case sema.ForcedReleased:
		p.endedBy(sp, token)
	}
}

// endedBy: the call itself ended the hold because it was overdue.
func (p *puzzle) endedBy(sp span, token uint64) {
	i, ok := p.chain.find(token)
	if !ok {
		return
	}
	g := p.chain.tokens[i]
	why := because([]*Op{sp.Op}, "call %d ended token %d, between %s and %s", sp.ID, token, clock(sp.Start), clock(sp.End))
	if other := p.forced[i]; other != nil {
		p.exclude(because([]*Op{other}, "call %d ended token %d", other.ID, token), because([]*Op{sp.Op}, "so did call %d", sp.ID))
	}
	p.forced[i] = sp.Op
	p.chain.end(i).notBefore(sp.from, why)
	p.chain.end(i).notAfter(sp.to, why)
	if g.by != nil {
		p.chain.end(i).notBefore(p.moments.from(g.overdue),
			because([]*Op{g.by, g.kept}, "token %d could not be overdue before %s", token, clock(g.overdue)))
	}
}

// held: the hold stood at some time during the call.
func (p *puzzle) held(sp span, token uint64) {
	i, ok := p.chain.find(token)
	if !ok {
		return
	}
	p.chain.grant(i).notAfter(sp.to, because([]*Op{sp.Op}, "token %d was granted by %s, when call %d that found it held was answered", token, clock(sp.End), sp.ID))
	p.chain.end(i).notBefore(sp.from, because([]*Op{sp.Op}, "token %d stood at %s or later, because call %d began then and found it held", token, clock(sp.Start), sp.ID))
	p.draw(sp, step{kind: stepHeld, token: token})
}

// existed: the hold had been granted when the call was answered.
func (p *puzzle) existed(sp span, token uint64) {
	if i, ok := p.chain.find(token); ok {
		p.chain.grant(i).notAfter(sp.to, because([]*Op{sp.Op}, "token %d was granted by %s, when call %d that shows it was answered", token, clock(sp.End), sp.ID))
		p.draw(sp, step{kind: stepExisted, token: token})
	}
}

// free: nobody held at some time during the call.
func (p *puzzle) free(sp span) {
	p.absences = append(p.absences, absence{sp, -1})
	p.draw(sp, step{kind: stepFree})
}

// notHeld: the hold did not stand at some time during the call. If it is a
// release, that is the time right after it took effect.
func (p *puzzle) notHeld(sp span, token uint64) {
	if i, ok := p.chain.find(token); ok {
		p.absences = append(p.absences, absence{sp, i})
		p.draw(sp, step{kind: stepNotHeld, token: token})
	}
}

func (p *puzzle) draw(sp span, st step) {
	p.steps = append(p.steps, drawn{sp.from, sp.to, sp.Client, sp.Op.String(), st})
}

func (p *puzzle) exclude(reasons ...reason) {
	if p.conflict == nil {
		p.conflict = reasons
	}
}

func (p *puzzle) violation(e *evidence, conflict []reason) Violation {
	wrong := fmt.Sprintf("no order of the calls on %q explains all answers. A hold ends before the next one, with a higher token, is granted; so these cannot all be true:", p.semaphore.name)
	var ops []*Op
	for _, r := range conflict {
		if r.text != "" {
			wrong += "\n- " + r.text
		}
		ops = append(ops, r.ops...)
	}
	var more []string
	if e.ledger != nil {
		var tokens []uint64
		for _, op := range ops {
			tokens = append(tokens, about(op)...)
		}
		slices.Sort(tokens)
		for _, token := range slices.Compact(tokens) {
			more = append(more, e.ledger.tell(token)...)
		}
	}
	v := story(wrong+"\nThe calls:", ops, more...)
	if e.limits.Drawings != "" {
		file, err := p.drawing(e.limits.Drawings, ops)
		if err != nil {
			v.Text += fmt.Sprintf("\nthe drawing could not be made: %v", err)
		}
		v.File = file
	}
	return v
}

// about are the tokens that a call is about.
func about(op *Op) []uint64 {
	if op == nil {
		return nil
	}
	return slices.DeleteFunc([]uint64{op.Token, op.Info.Token}, func(token uint64) bool { return token == 0 })
}
