package fsm

import (
	"fmt"
	"unicode/utf8"

	"github.com/semanode/sema"
)

// maxIdentityBytes bounds an account's name. [MaxCommands] of the largest commands fit into
// a batch with it.
const maxIdentityBytes = 64

// Account says on whose account an acquire counts, and within which limits: those that were
// in force where its client came in. They travel in the command, so that every node decides
// alike whatever its own access file says. A limit of zero is none. It must not be
// changed once it is part of a command.
type Account struct {
	Identity string // 1 to 64 bytes
	Holds    uint32 // of the identity: its holds and tickets together, as a ticket becomes a hold by itself
	Tickets  uint32 // of the identity: its tickets
	AllHolds uint32 // of the cluster: all holds
	AllNames uint32 // of the cluster: all names that somebody holds
}

// check holds an account to what the format can carry.
func (a *Account) check() error {
	if n := len(a.Identity); n == 0 || n > maxIdentityBytes || !utf8.ValidString(a.Identity) {
		return fmt.Errorf("with an account of %d bytes, want 1 to %d of UTF-8", n, maxIdentityBytes)
	}
	return nil
}

func (a *Account) append(b []byte) []byte {
	b = appendText(b, 1, a.Identity)
	b = appendUint(b, 2, uint64(a.Holds))
	b = appendUint(b, 3, uint64(a.Tickets))
	b = appendUint(b, 4, uint64(a.AllHolds))
	return appendUint(b, 5, uint64(a.AllNames))
}

func (a *Account) decode(body []byte) error {
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.text(&a.Identity, maxIdentityBytes)
		case 2:
			f.uint32(&a.Holds)
		case 3:
			f.uint32(&a.Tickets)
		case 4:
			f.uint32(&a.AllHolds)
		case 5:
			f.uint32(&a.AllNames)
		default:
			f.unknown("account")
		}
	}
	if f.err == nil && a.Identity == "" {
		f.fail("an account without an identity")
	}
	return f.err
}

// accounts are what each identity has: as many as have something. Holds and tickets
// point at theirs.
type accounts map[string]*account

type account struct {
	identity       string
	holds, tickets int
}

// name is the identity's, "" for no account.
func (a *account) name() string {
	if a == nil {
		return ""
	}
	return a.identity
}

// of returns the account of an identity, nil for "". It is kept once something was added.
func (as accounts) of(identity string) *account {
	if identity == "" {
		return nil
	}
	if a := as[identity]; a != nil {
		return a
	}
	return &account{identity: identity}
}

// add counts what an account, unless nil, got or, below zero, lost.
func (as accounts) add(a *account, holds, tickets int) {
	if a == nil {
		return
	}
	a.holds += holds
	a.tickets += tickets
	if a.holds == 0 && a.tickets == 0 {
		delete(as, a.identity)
	} else {
		as[a.identity] = a
	}
}

// accountOf is the account of a command, nil for none.
func (st *state) accountOf(c *Command) *account {
	if c.Account == nil {
		return nil
	}
	return st.accounts.of(c.Account.Identity)
}

// roomForHold is nil if one hold more is within the limits of the command.
func (st *state) roomForHold(c *Command, newName bool) error {
	a := c.Account
	if a == nil {
		return nil
	}
	if err := st.roomOfOwn(a); err != nil {
		return err
	}
	switch {
	case a.AllHolds != 0 && st.held >= int(a.AllHolds):
		return &sema.LimitError{Of: "holds in the cluster", Most: uint64(a.AllHolds)}
	case newName && a.AllNames != 0 && st.semaphores.len() >= int(a.AllNames):
		return &sema.LimitError{Of: "names held in the cluster", Most: uint64(a.AllNames)}
	}
	return nil
}

// roomForTicket is nil if one ticket more is. A hand-over leaves the cluster's holds as
// many as they are.
func (st *state) roomForTicket(c *Command) error {
	a := c.Account
	if a == nil {
		return nil
	}
	if own := st.accounts[a.Identity]; own != nil && a.Tickets != 0 && own.tickets >= int(a.Tickets) {
		return &sema.LimitError{Of: "places in line of identity " + a.Identity, Most: uint64(a.Tickets)}
	}
	return st.roomOfOwn(a)
}

func (st *state) roomOfOwn(a *Account) error {
	if own := st.accounts[a.Identity]; own != nil && a.Holds != 0 && own.holds+own.tickets >= int(a.Holds) {
		return &sema.LimitError{Of: "holds and places in line of identity " + a.Identity, Most: uint64(a.Holds)}
	}
	return nil
}

// Usage is what counts towards limits.
type Usage struct{ Holds, Tickets int }

// Usage returns what an identity has, by this node's own state.
func (m *Machine) Usage(identity string) Usage {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if a := m.state.accounts[identity]; a != nil {
		return Usage{a.holds, a.tickets}
	}
	return Usage{}
}

// Total returns what everybody has together, by this node's own state.
func (m *Machine) Total() Usage {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Usage{m.state.held, m.state.tickets.byNumber.Len()}
}
