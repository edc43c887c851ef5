package cluster

import (
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// disown sees to it that a touch or a release by somebody with an account hits no hold of
// others, and reports whether it had to. by is nil for who may act on all: there is no access control,
// or the call comes from within this process.
//
// What is disowned still goes through the log, but names nothing any more: so it is
// answered as if the hold were gone, by an entry like all others, and as [office.stillIn]
// says. To leave it out and answer from memory would tell somebody whose hold another leader
// has granted that it is lost.
func (o *office) disown(c *fsm.Command, by *transport.Account) (disowned bool) {
	if by == nil || o.node.machine.Owned(c, by.Identity) {
		return false
	}
	c.Token, c.Attempt.Seq = 0, 0
	return true
}

// stillIn is nil if this node has led in the term of the office all the while: then its
// state had all that anybody was told before the call came. If another has led meanwhile,
// what was disowned may be the caller's own by now.
func (o *office) stillIn() error {
	if o.node.raft.CurrentTerm() != o.term {
		return o.node.notLeader()
	}
	return nil
}
