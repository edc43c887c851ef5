package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

// founded is the wall-clock time at which the clusters of these tests were
// founded: at cluster time 0.
var founded = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// at is the stamp of term 1 at a cluster time, with the wall clock in step.
func at(clock time.Duration) fsm.Stamp {
	return fsm.Stamp{Term: 1, Clock: fsm.Time(clock), Wall: founded.Add(clock).UnixNano()}
}

// entryOf is the log entry, of the stamp's term, with these commands.
func entryOf(tb testing.TB, stamp fsm.Stamp, commands ...fsm.Command) *raft.Log {
	tb.Helper()
	data, err := fsm.AppendBatch(nil, fsm.Batch{Stamp: stamp, Commands: commands})
	if err != nil {
		tb.Fatal(err)
	}
	return &raft.Log{Term: stamp.Term, Data: data}
}

// apply applies an entry that can be applied.
func apply(tb testing.TB, m *fsm.Machine, entry *raft.Log) []fsm.Result {
	tb.Helper()
	results, ok := m.Apply(entry).([]fsm.Result)
	if !ok {
		tb.Fatalf("the machine stopped: %v", m.Err())
	}
	return results
}

func acquire(name string, client byte, seq uint64) fsm.Command {
	return fsm.Command{Kind: fsm.Acquire, Name: name, Owner: "owner", Timeout: 10 * time.Second,
		Attempt: sema.Attempt{Client: clientID(client), Seq: seq, LowestOpen: 1}}
}

// waiting is an acquire that waits in line.
func waiting(name string, client byte, seq uint64) fsm.Command {
	c := acquire(name, client, seq)
	c.Wait = true
	return c
}

// cancel takes the ticket of an attempt out of the line, as a leader does that
// knows no more of its client.
func cancel(name string, client byte, seq uint64) fsm.Command {
	return fsm.Command{Kind: fsm.Release, Name: name, Attempt: sema.Attempt{Client: clientID(client), Seq: seq}}
}

// clientID is the identity of client n, or none for zero.
func clientID(n byte) (id sema.ClientID) {
	if n != 0 {
		id = sema.ClientID(bytes.Repeat([]byte{n}, len(id)))
	}
	return id
}

// sink takes a snapshot into memory. It fails once room bytes were written, if
// room is not zero.
type sink struct {
	bytes.Buffer
	room              int
	closed, cancelled bool
}

var errFull = errors.New("no space left on device")

func (s *sink) Write(p []byte) (int, error) {
	if s.room != 0 && s.Len()+len(p) > s.room {
		return 0, errFull
	}
	return s.Buffer.Write(p)
}

func (s *sink) ID() string    { return "sink" }
func (s *sink) Close() error  { s.closed = true; return nil }
func (s *sink) Cancel() error { s.cancelled = true; return nil }

// capture takes a snapshot that is not written yet.
func capture(tb testing.TB, m *fsm.Machine) raft.FSMSnapshot {
	tb.Helper()
	captured, err := m.Snapshot()
	if err != nil {
		tb.Fatal(err)
	}
	return captured
}

func persist(tb testing.TB, captured raft.FSMSnapshot) []byte {
	tb.Helper()
	var s sink
	if err := captured.Persist(&s); err != nil || !s.closed || s.cancelled {
		tb.Fatalf("persist: %v, closed %v, cancelled %v", err, s.closed, s.cancelled)
	}
	captured.Release()
	return s.Bytes()
}

func snapshotOf(tb testing.TB, m *fsm.Machine) []byte {
	tb.Helper()
	return persist(tb, capture(tb, m))
}

// restore returns a machine with the state of the snapshot.
func restore(tb testing.TB, snapshot []byte) *fsm.Machine {
	tb.Helper()
	m := fsm.New()
	if err := m.Restore(io.NopCloser(bytes.NewReader(snapshot))); err != nil {
		tb.Fatal(err)
	}
	return m
}

// decodeSnapshot reads a snapshot with the generated decoder.
func decodeSnapshot(tb testing.TB, snapshot []byte) *logv1.Snapshot {
	tb.Helper()
	var s logv1.Snapshot
	if err := proto.Unmarshal(snapshot[12:], &s); err != nil {
		tb.Fatal(err)
	}
	return &s
}
