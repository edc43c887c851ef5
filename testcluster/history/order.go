package history

import (
	"cmp"
	"fmt"
	"slices"
)

// What answers say of tokens and of the line.

// genuine: see [Genuine].
func genuine(e *evidence) (f finding) {
	type shown struct {
		asker
		token uint64
	}
	told := map[shown]bool{}
	for _, s := range e.semaphores {
		for _, op := range s.ops {
			key := shown{asker{s.name, op.Info.Owner}, op.shows()}
			if key.token == 0 || told[key] {
				continue
			}
			if v, wrong := e.invented(op); wrong {
				told[key] = true
				f.violations = append(f.violations, v)
			}
		}
	}
	return f
}

// invented judges the hold that an answer describes.
func (e *evidence) invented(op *Op) (Violation, bool) {
	token, owner := op.Info.Token, op.Info.Owner
	asked := e.asked[asker{op.Name, owner}]
	switch {
	case op.Info.Name != "" && op.Info.Name != op.Name:
		return story(fmt.Sprintf("asked about %q, answered about %q", op.Name, op.Info.Name), []*Op{op}), true
	case owner == "": // written by hand
		return Violation{}, false
	case op.acquired() != 0 && owner != op.Owner:
		return story(fmt.Sprintf("%s was given the hold of %s on %q, token %d", op.Owner, owner, op.Name, token), []*Op{op, asked}), true
	case asked == nil:
		return story(fmt.Sprintf("%s is said to hold %q, token %d, and never asked for it", owner, op.Name, token), []*Op{op}), true
	case precedes(op, asked):
		return story(fmt.Sprintf("%s was said to hold %q, token %d, before it asked for it", owner, op.Name, token), []*Op{op, asked}), true
	case e.ledger == nil:
		return Violation{}, false
	}
	switch g, ok := e.ledger.grants[token]; {
	case !ok || g.asker != asker{op.Name, owner}:
		return story(fmt.Sprintf("%s was said to hold %q, token %d, and the log never granted that", owner, op.Name, token),
			[]*Op{op, asked}, e.ledger.tell(token)...), true
	case g.entry.At > op.End:
		return story(fmt.Sprintf("%s was said to hold %q, token %d, before any node had that in its log", owner, op.Name, token),
			[]*Op{op, asked}, e.ledger.tell(token)...), true
	}
	return Violation{}, false
}

// tokensRise: see [TokensRise].
func tokensRise(e *evidence) (f finding) {
	var acquired []*Op
	given := map[uint64]*Op{}
	for _, s := range e.semaphores {
		for _, op := range s.ops {
			token := op.acquired()
			if token == 0 {
				continue
			}
			acquired = append(acquired, op)
			if other := given[token]; other != nil {
				f.violations = append(f.violations, story(fmt.Sprintf("token %d was given to two acquires", token), []*Op{other, op}))
			}
			given[token] = op
		}
	}
	seen := make([]*Op, 0, len(e.seen))
	for token, op := range e.seen {
		seen = append(seen, op)
		if answers := e.described[token]; len(answers) > 1 {
			f.violations = append(f.violations, story(fmt.Sprintf("token %d is said to be of different holds", token), answers))
		}
	}
	slices.SortFunc(seen, func(a, b *Op) int {
		return cmp.Or(cmp.Compare(a.EndSeq, b.EndSeq), cmp.Compare(a.End, b.End), cmp.Compare(a.Info.Token, b.Info.Token))
	})
	slices.SortStableFunc(acquired, func(a, b *Op) int {
		return cmp.Or(cmp.Compare(a.StartSeq, b.StartSeq), cmp.Compare(a.Start, b.Start))
	})
	slices.SortStableFunc(f.violations, func(a, b Violation) int { return cmp.Compare(a.Text, b.Text) })
	var highest *Op // of those that were seen before the acquire at hand began
	for _, op := range acquired {
		for len(seen) > 0 && precedes(seen[0], op) {
			if highest == nil || seen[0].Info.Token > highest.Info.Token {
				highest = seen[0]
			}
			seen = seen[1:]
		}
		if highest != nil && highest.Info.Token >= op.Info.Token {
			f.violations = append(f.violations, story(fmt.Sprintf("token %d was granted to an acquire that began after token %d had been seen",
				op.Info.Token, highest.Info.Token), []*Op{highest, op}))
		}
	}
	return f
}

// firstComeFirstServed: see [FIFO].
func firstComeFirstServed(e *evidence) (f finding) {
	if e.ledger == nil {
		f.skipped = append(f.skipped, "without a journal nobody knows for certain who left the line: those whose place ever rose are left out")
	}
	for _, s := range e.semaphores {
		var placed, served []*Op
		for _, op := range s.ops {
			if op.Kind != Wait || op.acquired() == 0 {
				continue
			}
			served = append(served, op)
			if len(op.Places) > 0 && e.stayed(op) {
				placed = append(placed, op)
			}
		}
		slices.SortStableFunc(placed, func(a, b *Op) int {
			return cmp.Or(cmp.Compare(a.Places[0].Seq, b.Places[0].Seq), cmp.Compare(a.Places[0].At, b.Places[0].At))
		})
		var last *Op // with the highest token, of those told their place before the wait at hand began
		for _, op := range served {
			for len(placed) > 0 && before(placed[0].Places[0].At, placed[0].Places[0].Seq, op.Start, op.StartSeq) {
				if last == nil || placed[0].Info.Token > last.Info.Token {
					last = placed[0]
				}
				placed = placed[1:]
			}
			if last != nil && last.Info.Token > op.Info.Token {
				f.violations = append(f.violations, story(fmt.Sprintf("%s waited for %q before %s began to, and was served after it: tokens %d and %d",
					last.Client, s.name, op.Client, last.Info.Token, op.Info.Token), []*Op{last, op}))
			}
		}
	}
	return f
}

// stayed reports whether a wait was in line all the time, as far as is known.
func (e *evidence) stayed(op *Op) bool {
	if e.ledger != nil {
		q := e.ledger.queues[asker{op.Name, op.Owner}]
		return q != nil && !q.left && len(q.tickets) == 1 && q.grants == 1
	}
	for i, place := range op.Places[1:] {
		if place.Position > op.Places[i].Position {
			return false
		}
	}
	return true
}
