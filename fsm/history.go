package fsm

import "slices"

// history is what the snapshots that are being written need of the past. They share
// the semaphores and the clients with the state, which changes them in place; before
// it does so for the first time since a capture, it leaves there what was. That costs
// a command a copy of one value, however many there are.
type history struct {
	epoch  uint64   // rises with each capture
	newest *capture // nil if none is open
	open   int      // captures that are not released
}

// semaphore is called before a semaphore is changed that is not new.
func (h *history) semaphore(s *semaphore) {
	if s.epoch == h.epoch {
		return
	}
	if s.epoch = h.epoch; h.newest != nil {
		h.newest.holders[s] = slices.Clone(s.holders)
	}
}

// client is called before a client is changed that is not new.
func (h *history) client(c *client) {
	if c.epoch == h.epoch {
		return
	}
	if h.newest != nil {
		h.newest.records[c] = *c
	}
	c.epoch = h.epoch
}

// begin makes a capture the newest.
func (h *history) begin(c *capture) {
	c.holders, c.records = map[*semaphore][]hold{}, map[*client]client{}
	if h.newest != nil {
		h.newest.later = c
	}
	h.epoch++
	h.newest = c
	h.open++
}

// end forgets all that was left behind once no capture is open any more. One that
// is may need what was left in later ones.
func (h *history) end() {
	if h.open--; h.open == 0 {
		h.newest = nil
	}
}

// holdersOf returns the holders of a semaphore as they were at the capture: what was
// left here when it changed or, if it has not changed before a later capture, there; or
// what they are still.
func (c *capture) holdersOf(s *semaphore) []hold {
	for at := c; at != nil; at = at.later {
		if was, changed := at.holders[s]; changed {
			return was
		}
	}
	return s.holders
}

// recordOf returns a client as it was at the capture.
func (c *capture) recordOf(now *client) client {
	for at := c; at != nil; at = at.later {
		if was, changed := at.records[now]; changed {
			return was
		}
	}
	return *now
}
