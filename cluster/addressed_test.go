package cluster

import (
	"bytes"
	"testing"

	"github.com/hashicorp/raft"
)

// raft compares whom it gave its vote by what EncodePeer makes: two members that had one
// address, one after the other, must not look the same, or a node votes twice in a term.
func TestVotesAreForMembers(t *testing.T) {
	var trans raftTransport
	one, another := trans.EncodePeer("n1", "10.0.0.1:7373"), trans.EncodePeer("n2@00", "10.0.0.1:7373")
	if bytes.Equal(one, another) {
		t.Errorf("two members are both %q", one)
	}
	for _, peer := range [][]byte{one, another, []byte("10.0.0.1:7373")} { // the last is from before
		if addr := trans.DecodePeer(peer); addr != raft.ServerAddress("10.0.0.1:7373") {
			t.Errorf("%q is at %q", peer, addr)
		}
	}
}
