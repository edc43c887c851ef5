package cluster

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// intake is where the requests of other nodes come to raft's main loop, one at a time. It
// keeps two kinds of them from breaking raft.
//
// Heartbeats are handled by the goroutine of their connection, so that a slow disk does
// not look like a dead leader. But one from a newer term makes the node a follower of that term
// while its main loop, which may be about to write entries as the leader of the term
// before, writes them under the new one: two different entries with the same index and
// term, which is what Raft must never have (hashicorp/raft issue 695). So a heartbeat that
// would change anything takes the way of all other requests, through the main loop.
//
// Snapshots replace the state and the whole log, and raft installs each that comes. One
// that is late, because the leader gave up waiting and has sent another, would
// take back what the node has acknowledged since: it would vote without. And raft goes on
// believing that it has the entries that were behind the snapshot, so that it panics when
// it comes to apply them, or refuses all that follows for ever (hashicorp/raft issue
// 697). So what the node has already is not installed again, as Figure 13 of the Raft paper has it
// ("retain log entries following it"), and of entries that conflict with the snapshot raft is
// told that they are gone, see [intake.settle].
type intake struct {
	requests <-chan raft.RPC // of the network
	merged   chan raft.RPC   // those, and heartbeats that are not for the fast path
	fail     func(error)     // ends the node
	stop     chan struct{}
	once     sync.Once
	wg       sync.WaitGroup

	mu   sync.Mutex
	raft *raft.Raft // nil before it runs
	log  *parallelLog
}

func newIntake(requests <-chan raft.RPC, fail func(error)) *intake {
	in := &intake{requests: requests, merged: make(chan raft.RPC), fail: fail, stop: make(chan struct{})}
	in.wg.Go(func() {
		for {
			select {
			case rpc := <-in.requests:
				if req, ok := rpc.Command.(*raft.InstallSnapshotRequest); ok {
					in.install(rpc, req)
				} else {
					in.queue(rpc)
				}
			case <-in.stop:
				return
			}
		}
	})
	return in
}

// runs says whom the requests are for, and what its log is.
func (in *intake) runs(r *raft.Raft, log *parallelLog) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.raft, in.log = r, log
}

func (in *intake) running() (*raft.Raft, *parallelLog) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.raft, in.log
}

// close ends the goroutines and waits. The connections are closed before. It is idempotent.
func (in *intake) close() {
	in.once.Do(func() { close(in.stop) })
	in.wg.Wait()
}

// queue hands a request to raft's main loop.
func (in *intake) queue(rpc raft.RPC) {
	select {
	case in.merged <- rpc:
	case <-in.stop: // its connection is closed too
	}
}

// do hands a request to raft's main loop and waits for the answer, nil if there is none.
func (in *intake) do(rpc raft.RPC) any {
	answer := make(chan raft.RPCResponse, 1)
	rpc.RespChan = answer
	in.queue(rpc)
	select {
	case a := <-answer:
		if a.Error != nil {
			return nil
		}
		return a.Response
	case <-in.stop:
		return nil
	}
}

// changeNothing reports whether the fast path may handle a heartbeat: in a follower of
// its term it only notes that the leader lives, and an older one it refuses. Between
// the question and the handling the term can only rise.
func (in *intake) changeNothing(rpc raft.RPC) bool {
	r, _ := in.running()
	beat, ok := rpc.Command.(*raft.AppendEntriesRequest)
	if !ok || r == nil {
		return false
	}
	term := r.CurrentTerm()
	return beat.Term < term || beat.Term == term && r.State() == raft.Follower
}

// install has raft install a snapshot if that brings anything. Nothing else comes to raft
// meanwhile.
func (in *intake) install(rpc raft.RPC, req *raft.InstallSnapshotRequest) {
	r, log := in.running()
	if r == nil { // nobody could be behind what it has sent
		in.queue(rpc)
		return
	}
	// A heartbeat of who has sent it: when that is answered so is all that came before, and the
	// node follows the sender, or the sender is out of date.
	beat := raft.RPC{Command: &raft.AppendEntriesRequest{RPCHeader: req.RPCHeader, Term: req.Term}}
	followed, _ := in.do(beat).(*raft.AppendEntriesResponse)
	if followed == nil || !followed.Success {
		in.queue(rpc) // raft says no, or is ending
		return
	}
	if has(r, log, req) {
		in.wg.Go(func() {
			_, err := io.Copy(io.Discard, rpc.Reader) // it is sent all the same
			rpc.Respond(&raft.InstallSnapshotResponse{Term: req.Term, Success: err == nil}, err)
		})
		return
	}
	if r.LastIndex() <= req.LastLogIndex {
		in.queue(rpc)
		return
	}
	installed, _ := in.do(rpc).(*raft.InstallSnapshotResponse)
	if installed == nil {
		rpc.Respond(nil, errors.New("the snapshot was not installed"))
		return
	}
	if installed.Success {
		in.settle(r, log, req)
	}
	rpc.Respond(installed, nil)
}

// has reports whether a node has all that is in a snapshot: entries that are committed are
// the same everywhere, and so is what comes before an entry of the same index and term.
func has(r *raft.Raft, log *parallelLog, req *raft.InstallSnapshotRequest) bool {
	if max(r.CommitIndex(), r.AppliedIndex()) >= req.LastLogIndex {
		return true
	}
	var e raft.Log
	return log.GetLog(req.LastLogIndex, &e) == nil && e.Term == req.LastLogTerm
}

// settle tells raft that after the installation of a snapshot its log ends with that, and
// not with entries that came after it, which conflicted and were removed. Raft learns
// where its log ends from what it writes only, so it is sent the snapshot's last entry, which
// its log takes without writing it.
func (in *intake) settle(r *raft.Raft, log *parallelLog, req *raft.InstallSnapshotRequest) {
	log.replaced(req.LastLogIndex, func() {
		last := &raft.Log{Index: req.LastLogIndex, Term: req.LastLogTerm, Type: raft.LogNoop}
		in.do(raft.RPC{Command: &raft.AppendEntriesRequest{RPCHeader: req.RPCHeader, Term: req.Term, Entries: []*raft.Log{last}}})
	})
	if last := r.LastIndex(); last != req.LastLogIndex {
		in.fail(fmt.Errorf("a snapshot up to entry %d has replaced the log, and raft believes that there is an entry %d: start the node again", req.LastLogIndex, last))
	}
}

// Consumer implements [raft.Transport].
func (t *raftTransport) Consumer() <-chan raft.RPC { return t.intake.merged }

// SetHeartbeatHandler implements [raft.Transport].
func (t *raftTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		if t.intake.changeNothing(rpc) {
			handle(rpc)
		} else {
			t.intake.queue(rpc)
		}
	})
}

// Close implements [raft.WithClose].
func (t *raftTransport) Close() error {
	err := t.NetworkTransport.Close()
	t.intake.close()
	return err
}
