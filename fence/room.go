package fence

import "context"

// A room is one resource while somebody is inside or waits for it. Its fields are
// guarded by Gate.mu.
type room struct {
	highest uint64              // of all that came since the room was opened
	inside  map[*visit]struct{} // all with one token, highest or lower
	waiting int
	changed chan struct{} // closed, and made anew, when highest rose or the last one left
}

// A visit is a request on its way through a room.
type visit struct {
	token  uint64
	cancel context.CancelCauseFunc
	body   *upload // nil if the request has none
}

// enter waits until v is the highest of the room's and no other token is inside.
// It fails with [ErrStale], or with the cause of ctx's end.
func (g *Gate) enter(ctx context.Context, resource string, v *visit) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	rm := g.open(resource)
	defer g.tidy(resource, rm)
	if v.token > rm.highest {
		rm.raise(v.token)
	}
	for {
		if v.token < rm.highest {
			return stale(resource, v.token, rm.highest)
		}
		if rm.admits(v.token) {
			rm.inside[v] = struct{}{}
			return nil
		}
		rm.waiting++
		changed := rm.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		g.mu.Lock()
		rm.waiting--
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
}

// leave lets the next token in once the last one with v's is gone.
func (g *Gate) leave(resource string, v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rm := g.rooms[resource]
	delete(rm.inside, v)
	if len(rm.inside) == 0 {
		rm.wake()
	}
	g.tidy(resource, rm)
}

func (g *Gate) open(resource string) *room {
	rm := g.rooms[resource]
	if rm == nil {
		if g.rooms == nil {
			g.rooms = make(map[string]*room)
		}
		rm = &room{inside: make(map[*visit]struct{}), changed: make(chan struct{})}
		g.rooms[resource] = rm
	}
	return rm
}

// tidy forgets a room that nobody uses: the Store remembers.
func (g *Gate) tidy(resource string, rm *room) {
	if len(rm.inside) == 0 && rm.waiting == 0 {
		delete(g.rooms, resource)
	}
}

// admits reports whether nobody is inside or those who are have the same token.
func (rm *room) admits(token uint64) bool {
	for v := range rm.inside {
		return v.token == token
	}
	return true
}

// raise closes the room to tokens below and tells those inside, who all have one,
// that their time is over.
func (rm *room) raise(token uint64) {
	rm.highest = token
	for v := range rm.inside {
		v.cancel(ErrStale)
		if v.body != nil {
			v.body.abort() // under the lock, so before the handler returns
		}
	}
	rm.wake()
}

func (rm *room) wake() {
	close(rm.changed)
	rm.changed = make(chan struct{})
}
