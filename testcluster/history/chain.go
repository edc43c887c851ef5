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

// tighten lets each event bound those before it. It returns the two reasons that exclude
// each other, if there are such. That each event bounds those after it, too, would find
// nothing more: one that is too late for a later one is too late here.
func (c *chain) tighten() (conflict []reason) {
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

// absence is an answer that says that the semaphore was free, or was not held with a
// certain token, at some time between two places: after the end of one hold, or before
// the grant of another.
type absence struct {
	span
	token int // the number of the token that it was not held with, -1 for none: it was free
}

// open reports whether an absence can be true, once the chain is tightened. If so, it
// is true when every hold ends as early as it can and the next is granted late enough;
// see the package documentation for why that suits all absences at once.
func (c *chain) open(a absence) bool {
	if a.token >= 0 {
		return c.end(a.token).earliest.at <= a.to || c.grant(a.token).latest.at >= a.from
	}
	i := c.grantedBefore(a)
	return i < 0 || c.end(i).earliest.at <= a.to
}

// grantedBefore is the last hold that was certainly granted before the call began, or -1.
func (c *chain) grantedBefore(a absence) int {
	return sort.Search(len(c.tokens), func(i int) bool { return c.grant(i).latest.at >= a.from }) - 1
}

// excluded are the reasons for which an absence cannot be true: some hold stood all
// the time.
func (c *chain) excluded(a absence) []reason {
	i := a.token
	if i < 0 {
		i = c.grantedBefore(a)
	}
	return []reason{c.grant(i).latest.reason, c.end(i).earliest.reason, a.says()}
}

// says is what the answer claims.
func (a absence) says() reason {
	what := "free"
	if a.token >= 0 {
		what = fmt.Sprintf("not held with token %d", a.Op.Token)
	}
	return because([]*Op{a.Op}, "call %d found it %s, between %s and %s", a.ID, what, clock(a.Start), clock(a.End))
}

// conflict decides whether there is an order that suits the chain and all absences. It
// returns nil if there is, and otherwise reasons that exclude each other.
func (c *chain) conflict(absences []absence) []reason {
	if conflict := c.tighten(); conflict != nil {
		return conflict
	}
	for _, a := range absences {
		if !c.open(a) {
			return c.excluded(a)
		}
	}
	return nil
}
