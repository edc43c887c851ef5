package history

import (
	"fmt"
	"sort"
)

// chain is what has to happen to a semaphore, in this order: its first hold is
// granted, ends, the second is granted, ends, and so on in the order of the
// tokens. The last hold ends too, if only after everything else.
type chain struct {
	tokens []*grant
	events []event // two for each token: its grant and its end
}

// event is a grant or an end, with the places between which it must have happened.
type event struct{ earliest, latest bound }

// bound is a place, and why it is one.
type bound struct {
	at int
	reason
}

// reason is a plain sentence, and the ops that it is about.
type reason struct {
	text string
	ops  []*Op
}

func because(ops []*Op, format string, args ...any) reason {
	return reason{fmt.Sprintf(format, args...), ops}
}

func newChain(tokens []*grant) *chain {
	c := &chain{tokens: tokens, events: make([]event, 2*len(tokens))}
	for i := range c.events {
		c.events[i].latest.at = never
	}
	return c
}

// find is the number of a token in the chain, and false if it is not there.
func (c *chain) find(token uint64) (int, bool) {
	i := sort.Search(len(c.tokens), func(i int) bool { return c.tokens[i].token >= token })
	return i, i < len(c.tokens) && c.tokens[i].token == token
}

func (c *chain) grant(i int) *event { return &c.events[2*i] }
func (c *chain) end(i int) *event   { return &c.events[2*i+1] }

func (e *event) notBefore(at int, why reason) {
	if at > e.earliest.at {
		e.earliest = bound{at, why}
	}
}

func (e *event) notAfter(at int, why reason) {
	if at < e.latest.at {
		e.latest = bound{at, why}
	}
}

// tighten lets each event bound those before and after it. It returns the two
// reasons that exclude each other, if there are such.
func (c *chain) tighten() (conflict []reason) {
	for i := 1; i < len(c.events); i++ {
		if before := c.events[i-1].earliest; before.at > c.events[i].earliest.at {
			c.events[i].earliest = before
		}
	}
	for i := len(c.events) - 2; i >= 0; i-- {
		if after := c.events[i+1].latest; after.at < c.events[i].latest.at {
			c.events[i].latest = after
		}
	}
	for _, e := range c.events {
		if e.earliest.at > e.latest.at {
			return []reason{e.earliest.reason, e.latest.reason}
		}
	}
	return nil
}

// gap is the time between the end of one hold and the grant of the next. Gap i
// comes before token i.

// opens is the end before gap i, nil if nothing ended before.
func (c *chain) opens(i int) *event {
	if i == 0 {
		return nil
	}
	return c.end(i - 1)
}

// closes is the grant after gap i, nil if there is none.
func (c *chain) closes(i int) *event {
	if i == len(c.tokens) {
		return nil
	}
	return c.grant(i)
}

// choice is an answer that says that the semaphore was free, or was not held with a
// certain token, at some time between two places. It can be true in several ways.
type choice struct {
	span
	token int // the number of the token that it was not held with, -1 for none: it was free
}

// way is one way for a choice to be true: the hold before it ended by then, and
// the hold after it was granted only then.
type way struct{ ended, granted *event }

// ways are those that the chain leaves open. sure means that one of them is true
// whatever happens.
func (c *chain) ways(ch choice) (open []way, sure bool) {
	consider := func(w way) {
		if w.ended != nil && w.ended.earliest.at > ch.to || w.granted != nil && w.granted.latest.at < ch.from {
			return
		}
		open = append(open, w)
		sure = sure || (w.ended == nil || w.ended.latest.at <= ch.to) && (w.granted == nil || w.granted.earliest.at >= ch.from)
	}
	if ch.token >= 0 {
		consider(way{ended: c.end(ch.token)})
		consider(way{granted: c.grant(ch.token)})
		return open, sure
	}
	first := sort.Search(len(c.tokens), func(i int) bool { return c.grant(i).latest.at >= ch.from })
	for i := first; i <= len(c.tokens) && !sure && (i == 0 || c.end(i-1).earliest.at <= ch.to); i++ {
		consider(way{c.opens(i), c.closes(i)})
	}
	return open, sure
}

// excluded are the reasons for which no way is open: some hold stood all the time.
func (c *chain) excluded(ch choice) []reason {
	i := ch.token
	if i < 0 { // the first hold that may still be granted then, or the last before, stood before and after
		i = sort.Search(len(c.tokens), func(i int) bool { return c.grant(i).latest.at >= ch.from }) - 1
	}
	return []reason{c.grant(i).latest.reason, c.end(i).earliest.reason, ch.says()}
}

// says is what the choice's answer claims.
func (ch choice) says() reason {
	what := "free"
	if ch.token >= 0 {
		what = fmt.Sprintf("not held with token %d", ch.Op.Token)
	}
	return because([]*Op{ch.Op}, "call %d found it %s, between %s and %s", ch.ID, what, clock(ch.Start), clock(ch.End))
}

// decide takes the only way of each choice that has one, and drops those that are
// true anyway, until nothing more follows. It returns what is left, or the reasons
// that exclude each other.
func (c *chain) decide(choices []choice) (left []choice, conflict []reason) {
	for again := true; again; {
		if conflict = c.tighten(); conflict != nil {
			return choices, conflict
		}
		again = false
		left = nil
		for _, ch := range choices {
			open, sure := c.ways(ch)
			switch {
			case sure:
			case len(open) == 0:
				return choices, c.excluded(ch)
			case len(open) == 1:
				again = true
				if e := open[0].ended; e != nil {
					e.notAfter(ch.to, ch.says())
				}
				if e := open[0].granted; e != nil {
					e.notBefore(ch.from, ch.says())
				}
			default:
				left = append(left, ch)
			}
		}
		choices = left
	}
	return left, nil
}
