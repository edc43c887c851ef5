package access

import (
	"sync"
	"time"

	"github.com/semanode/sema"
)

// ClientRetention is how long it is remembered at the least that an identity made a call as
// a client; at the most it is twice that. The state machine remembers clients for as long.
const ClientRetention = time.Hour

// clients remember as which clients an identity makes calls, of each that has a limit on
// them. They outlive a change of the file.
type clients struct {
	mu sync.Mutex
	of map[string]*clientele // bounded by the identities of the file
}

// clientele is the clients of one identity, in two generations, as the state machine keeps
// them: who makes a call is, or moves, in the young one; at each turn the old one is
// forgotten and the young one becomes old. A client is in one of them, so both together are
// what the limit is about: were it the young one alone, known clients that keep coming
// would make room for as many new ones at each turn.
type clientele struct {
	young, old map[sema.ClientID]struct{}
	turnAt     time.Time
}

// Client is nil if the identity may make a call as this client: it is one that it has made
// calls as, or a new one within its limit, and is remembered. Otherwise the error is a
// [sema.LimitError], and nothing is. The zero client is none, and nobody remembers it.
func (c *Control) Client(id *Identity, client sema.ClientID) error {
	if id.limits.Clients == 0 || client.IsZero() {
		return nil
	}
	c.clients.mu.Lock()
	defer c.clients.mu.Unlock()
	known := c.clients.of[id.name]
	if known == nil {
		if !c.Policy().countsClients(id.name) { // not any more: nobody would forget it again
			return nil
		}
		known = c.clients.add(id.name, time.Now())
	}
	return known.note(id, client, time.Now())
}

func (p *Policy) countsClients(name string) bool {
	id := p.identities[name]
	return id != nil && id.limits.Clients > 0
}

// add begins to count the clients of an identity. mu is held.
func (cs *clients) add(name string, now time.Time) *clientele {
	if cs.of == nil {
		cs.of = map[string]*clientele{}
	}
	known := &clientele{young: map[sema.ClientID]struct{}{}, turnAt: now.Add(ClientRetention)}
	cs.of[name] = known
	return known
}

// forget drops the clients of those who have no limit on them in the policy, which must be
// in force: else they could come back.
func (cs *clients) forget(p *Policy) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for name := range cs.of {
		if !p.countsClients(name) {
			delete(cs.of, name)
		}
	}
}

func (known *clientele) note(id *Identity, client sema.ClientID, now time.Time) error {
	known.turn(now)
	if _, young := known.young[client]; young {
		return nil
	}
	if _, old := known.old[client]; old {
		delete(known.old, client)
	} else if uint64(len(known.young)+len(known.old)) >= uint64(id.limits.Clients) {
		return known.full(id, now)
	}
	known.young[client] = struct{}{}
	return nil
}

// turn forgets the silent.
func (known *clientele) turn(now time.Time) {
	late := now.Sub(known.turnAt)
	if late < 0 {
		return
	}
	known.old, known.young = known.young, map[sema.ClientID]struct{}{}
	if late >= ClientRetention { // two turns at once
		known.old = nil
	}
	known.turnAt = known.turnAt.Add(late.Truncate(ClientRetention) + ClientRetention)
}

// full is the error of a client for which there is no room until one is forgotten.
func (known *clientele) full(id *Identity, now time.Time) error {
	wait := known.turnAt.Sub(now)
	if len(known.old) == 0 {
		wait += ClientRetention
	}
	return &sema.LimitError{Of: "clients of identity " + id.name, Most: uint64(id.limits.Clients), RetryAfter: (wait + time.Second - 1).Truncate(time.Second)}
}
