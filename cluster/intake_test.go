package cluster

import (
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

// TestHeartbeatsThatWouldChangeSomething go through raft's main loop, in which nothing
// else happens meanwhile; the others do not wait for it.
func TestHeartbeatsThatWouldChangeSomething(t *testing.T) {
	defer goleak.VerifyNone(t)
	_, trans := raft.NewInmemTransport("n1")
	conf := raft.DefaultConfig()
	conf.LocalID, conf.LogOutput = "n1", io.Discard
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	store := raft.NewInmemStore()
	members := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}}}
	if err := raft.BootstrapCluster(conf, store, store, raft.NewInmemSnapshotStore(), trans, members); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(conf, &raft.MockFSM{}, store, store, raft.NewInmemSnapshotStore(), trans)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	}()
	if !<-r.LeaderCh() {
		t.Fatal("it does not lead")
	}

	requests := make(chan raft.RPC)
	h := newIntake(requests, nil)
	defer h.close()
	beat := func(term uint64) raft.RPC { return raft.RPC{Command: &raft.AppendEntriesRequest{Term: term}} }
	term := r.CurrentTerm()
	if h.changeNothing(beat(term)) {
		t.Error("nobody knows the term yet, and a heartbeat is handled at once")
	}
	h.runs(r, nil)
	for name, c := range map[string]struct {
		rpc    raft.RPC
		atOnce bool
	}{
		"of an older term, which is refused": {beat(term - 1), true},
		"to a leader of its own term":        {beat(term), false},
		"of a newer term":                    {beat(term + 1), false},
		"no heartbeat at all":                {raft.RPC{Command: &raft.RequestVoteRequest{Term: term}}, false},
	} {
		if got := h.changeNothing(c.rpc); got != c.atOnce {
			t.Errorf("%s: handled at once %v, want %v", name, got, c.atOnce)
		}
	}

	go func() { requests <- beat(1) }()
	go h.queue(beat(2))
	seen := map[uint64]bool{}
	for range 2 {
		seen[(<-h.merged).Command.(*raft.AppendEntriesRequest).Term] = true
	}
	if !seen[1] || !seen[2] {
		t.Errorf("the main loop gets the heartbeats of terms %v, want 1 and 2", seen)
	}
}
