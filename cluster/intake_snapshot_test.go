package cluster

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"
)

// words is a state machine that remembers what it was told.
type words struct {
	mu   sync.Mutex
	told []string
}

func (w *words) Apply(e *raft.Log) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, string(e.Data))
	return nil
}

func (w *words) Snapshot() (raft.FSMSnapshot, error) { return nil, fmt.Errorf("not wanted") }

func (w *words) Restore(r io.ReadCloser) error {
	text, err := io.ReadAll(r)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = strings.Fields(string(text))
	return err
}

func (w *words) has() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.told, " ")
}

// taking is a transport whose requests come by way of an intake.
type taking struct {
	*raft.InmemTransport
	intake *intake
}

func (t taking) Consumer() <-chan raft.RPC { return t.intake.merged }

// follower is raft on a node that leads nobody, and is told what to do by the test.
type follower struct {
	t        *testing.T
	requests chan raft.RPC
	raft     *raft.Raft
	log      *parallelLog
	words    *words
}

func newFollower(t *testing.T) *follower {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	f := &follower{t: t, requests: make(chan raft.RPC), words: &words{}}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.LogOutput = "n1", io.Discard
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = time.Hour, time.Hour, time.Hour
	in := newIntake(f.requests, func(err error) { t.Errorf("the node ends: %v", err) })
	_, inner := raft.NewInmemTransport("n1")
	trans := taking{inner, in}
	store, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	f.log = newParallelLog(store)
	members := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}, {ID: "n2", Address: "n2"}, {ID: "n3", Address: "n3"}}}
	err := raft.BootstrapCluster(conf, f.log, store, snapshots, trans, members) // entry 1, of term 1
	if err != nil {
		t.Fatal(err)
	}
	if f.raft, err = raft.NewRaft(conf, f.words, f.log, store, snapshots, trans); err != nil {
		t.Fatal(err)
	}
	in.runs(f.raft, f.log)
	f.log.runs(f.raft)
	t.Cleanup(func() {
		if err := f.raft.Shutdown().Error(); err != nil {
			t.Error(err)
		}
		in.close()
		f.log.close()
	})
	return f
}

// ask sends a request as a connection does.
func (f *follower) ask(command any, data string) any {
	f.t.Helper()
	answer := make(chan raft.RPCResponse, 1)
	f.requests <- raft.RPC{Command: command, Reader: strings.NewReader(data), RespChan: answer}
	select {
	case a := <-answer:
		if a.Error != nil {
			f.t.Fatal(a.Error)
		}
		return a.Response
	case <-time.After(10 * time.Second):
		f.t.Fatal("no answer")
		return nil
	}
}

// from is a leader of a term: n2 of the odd ones, n3 of the others.
func from(term uint64) raft.RPCHeader {
	id := fmt.Sprintf("n%d", 3-term%2)
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte(id)}
}

// append sends entries of a term, up to last, behind one that the follower should have.
func (f *follower) append(term, prev, prevTerm, last, commit uint64) bool {
	f.t.Helper()
	req := &raft.AppendEntriesRequest{RPCHeader: from(term), Term: term, PrevLogEntry: prev, PrevLogTerm: prevTerm, LeaderCommitIndex: commit}
	for i := prev + 1; i <= last; i++ {
		req.Entries = append(req.Entries, &raft.Log{Index: i, Term: term, Data: word(i, term)})
	}
	return f.ask(req, "").(*raft.AppendEntriesResponse).Success
}

func word(index, term uint64) []byte { return fmt.Appendf(nil, "%d.%d", index, term) }

// snapshot sends a snapshot.
func (f *follower) snapshot(term, index, indexTerm uint64, text string) bool {
	f.t.Helper()
	c := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: "n1"}, {ID: "n2", Address: "n2"}, {ID: "n3", Address: "n3"}}}
	return f.ask(&raft.InstallSnapshotRequest{RPCHeader: from(term), SnapshotVersion: 1, Term: term, LastLogIndex: index, LastLogTerm: indexTerm,
		Configuration: raft.EncodeConfiguration(c), ConfigurationIndex: 1, Size: int64(len(text))}, text).(*raft.InstallSnapshotResponse).Success
}

// wrote reports whether entries, all of a term, are on the follower's disk.
func (f *follower) wrote(from, to, term uint64) bool {
	f.t.Helper()
	for i := from; i <= to; i++ {
		var e raft.Log
		if f.log.GetLog(i, &e) != nil || e.Term != term {
			return false
		}
	}
	return true
}

// knows waits until the state machine was told this, and no more.
func (f *follower) knows(text string) {
	f.t.Helper()
	late, told := time.NewTimer(10*time.Second), time.NewTicker(time.Millisecond)
	defer late.Stop()
	defer told.Stop()
	for {
		if f.words.has() == text {
			return
		}
		select {
		case <-told.C:
		case <-late.C:
			f.t.Fatalf("the state is %q, want %q", f.words.has(), text)
		}
	}
}

// What a follower has acknowledged it keeps, whatever snapshots come late, come again, or end
// before its log does: it is one of the quorum that has them. And it follows afterwards.
func TestSnapshotsThatBringNothing(t *testing.T) {
	for name, committed := range map[string]uint64{"committed": 5, "not yet known to be committed": 1} {
		t.Run(name, func(t *testing.T) {
			f := newFollower(t)
			if !f.append(1, 1, 1, 5, committed) {
				t.Fatal("entries are refused")
			}
			for range 2 {
				if !f.snapshot(1, 3, 1, "2.1 3.1") {
					t.Fatal("the snapshot is refused")
				}
			}
			if !f.wrote(2, 5, 1) {
				t.Fatal("what the node has acknowledged is gone")
			}
			if !f.append(1, 5, 1, 6, 6) {
				t.Fatal("the next entry is refused")
			}
			f.knows("2.1 3.1 4.1 5.1 6.1")
		})
	}
}

// A snapshot that ends before a log which is another one replaces that, and raft does not take
// what is gone for its own.
func TestSnapshotBeforeTheEndOfAnotherLog(t *testing.T) {
	f := newFollower(t)
	if !f.append(1, 1, 1, 9, 2) {
		t.Fatal("entries are refused")
	}
	if !f.snapshot(2, 4, 2, "2.1 3.2 4.2") {
		t.Fatal("the snapshot is refused")
	}
	f.knows("2.1 3.2 4.2")
	if last := f.raft.LastIndex(); last != 4 {
		t.Errorf("raft believes that its log ends with entry %d, want 4", last)
	}
	if f.wrote(4, 4, 0) || f.wrote(4, 4, 2) {
		t.Error("the entry that raft was told of is in the log")
	}
	if !f.append(2, 4, 2, 6, 6) {
		t.Fatal("the entry after it is refused")
	}
	f.knows("2.1 3.2 4.2 5.2 6.2")
	if !f.wrote(5, 6, 2) || f.wrote(7, 7, 1) {
		t.Error("the log is not what it was sent")
	}
}

// A snapshot ahead of the log is installed, and one of a leader that is none any more is not.
func TestSnapshotAhead(t *testing.T) {
	f := newFollower(t)
	if !f.append(2, 1, 1, 3, 3) {
		t.Fatal("entries are refused")
	}
	if f.snapshot(1, 9, 1, "old") {
		t.Error("a leader of an older term installs a snapshot")
	}
	if !f.snapshot(2, 7, 2, "2.2 7.2") {
		t.Fatal("the snapshot is refused")
	}
	if f.snapshot(1, 5, 1, "old") {
		t.Error("a leader of an older term is told that its snapshot is installed")
	}
	if !f.append(2, 7, 2, 8, 8) {
		t.Fatal("the entry after it is refused")
	}
	for _, late := range []uint64{7, 5} { // the leader has sent it twice
		if !f.snapshot(2, late, 2, "back") {
			t.Fatal("a snapshot that comes late is refused")
		}
	}
	if !f.wrote(8, 8, 2) || !f.append(2, 8, 2, 9, 9) {
		t.Fatal("what the node has acknowledged is gone")
	}
	f.knows("2.2 7.2 8.2 9.2")
}
