package fsm

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/semanode/sema"
)

// client is what the machine remembers of one client: how its attempts were
// decided whose answers it may still be waiting for.
type client struct {
	lowestOpen uint64
	// outcomes of attempts >= lowestOpen, in ascending order of seq. Entries are
	// never changed in place, only cut off in front and added behind or, out of
	// order, into a new slice: a snapshot may share the slice.
	outcomes []outcome
	// epoch as that of a semaphore.
	epoch uint64
}

// outcome is how an attempt was decided.
type outcome struct {
	seq    uint64
	status sema.Status
	token  uint64 // granted, if status is Acquired
	ended  *hold  // the hold that was ended, if status is ForcedReleased
}

// finished reports whether the client has said that it has this answer.
func (c *client) finished(seq uint64) bool { return seq < c.lowestOpen }

// outcome returns how the attempt was decided, if it was.
func (c *client) outcome(seq uint64) (outcome, bool) {
	i, decided := c.find(seq)
	if !decided {
		return outcome{}, false
	}
	return c.outcomes[i], true
}

// find returns where the attempt's outcome is or belongs.
func (c *client) find(seq uint64) (i int, decided bool) {
	return slices.BinarySearchFunc(c.outcomes, seq, func(o outcome, seq uint64) int { return cmp.Compare(o.seq, seq) })
}

// close forgets the outcomes that the client has.
func (c *client) close(lowestOpen uint64) {
	if lowestOpen <= c.lowestOpen {
		return
	}
	c.lowestOpen = lowestOpen
	i, _ := c.find(lowestOpen)
	c.outcomes = c.outcomes[i:]
	if len(c.outcomes) == 0 {
		c.outcomes = nil
	}
}

// record remembers an outcome that is not there yet, unless its attempt is
// finished: an acquire that ends a hold grants to somebody else before its own
// outcome is recorded, and what served makes of that client may rule it out.
func (c *client) record(o outcome) {
	if c.finished(o.seq) {
		return
	}
	i, _ := c.find(o.seq)
	if i == len(c.outcomes) {
		c.outcomes = append(c.outcomes, o)
		return
	}
	c.outcomes = slices.Concat(c.outcomes[:i], []outcome{o}, c.outcomes[i:])
}

// served remembers the grant of a ticket. Its client may have been forgotten
// while it waited: it is made anew then. The attempt may be finished, if the
// client says that it does not want the answer.
func (cs *clients) served(a attemptID, token uint64, h *history) {
	c := cs.heard(sema.Attempt{Client: a.client, LowestOpen: a.lowestBeside()}, h)
	if _, decided := c.outcome(a.seq); decided {
		return
	}
	c.record(outcome{seq: a.seq, status: sema.Acquired, token: token})
}

// clients are kept in two generations. Who is heard of is, or moves, in the
// young one; each time the clock reaches turnAt, the old one is forgotten and the
// young one becomes old. That forgets the silent without a list in the order of
// who spoke last.
type clients struct {
	young, old generation
	turnAt     Time // nextTurn of the clock
}

type generation = table[sema.ClientID, *client]

func newClients() clients {
	return clients{young: newGeneration(), old: newGeneration(), turnAt: nextTurn(0)}
}

func newGeneration() generation {
	return newTable(func(a, b row[sema.ClientID, *client]) bool { return bytes.Compare(a.key[:], b.key[:]) < 0 })
}

// turn forgets the silent.
func (cs *clients) turn(now Time) {
	if now < cs.turnAt {
		return
	}
	cs.old, cs.young = cs.young, newGeneration()
	if now >= cs.turnAt.Add(ClientRetention) { // two turns at once
		cs.old = newGeneration()
	}
	cs.turnAt = nextTurn(now)
}

// nextTurn is the first multiple of ClientRetention after now: were turns counted
// from the entries that happen to come, a client could outstay two of them.
func nextTurn(now Time) Time { return (now - now%Time(ClientRetention)).Add(ClientRetention) }

// heard returns the record of the client for writing, made if need be, with the
// answers forgotten that it has. There must be an id.
func (cs *clients) heard(a sema.Attempt, h *history) *client {
	c, young := cs.young.get(a.Client)
	if !young {
		var old bool
		if c, old = cs.old.get(a.Client); old {
			cs.old.delete(a.Client)
		} else {
			c = &client{epoch: h.epoch}
		}
		cs.young.set(a.Client, c)
	}
	h.client(c)
	c.close(a.LowestOpen)
	return c
}
