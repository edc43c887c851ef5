package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

// everything is a machine with something in every field of a snapshot. Of five
// tickets three still stand: two in one line and one in another.
func everything(tb testing.TB) *fsm.Machine {
	m := withoutLines(tb)
	var commands []fsm.Command
	for _, w := range []struct {
		name   string
		client byte
		seq    uint64
	}{{"ä/1", 2, 4}, {"ä/1", 4, 7}, {"b", 2, 5}, {"ä/1", 4, 8}, {"b", 4, 9}} {
		c := waiting(w.name, w.client, w.seq)
		c.Attempt.LowestOpen = 0
		commands = append(commands, c)
	}
	apply(tb, m, entryOf(tb, at(fsm.ClientRetention), append(commands, cancel("ä/1", 4, 7), cancel("b", 4, 9))...))
	return m
}

// withoutLines is a machine with something in every field of a snapshot that
// has to do with holds and clients.
func withoutLines(tb testing.TB) *fsm.Machine {
	m := fsm.New()
	expired := fsm.Command{Kind: fsm.Acquire, Name: "a", Owner: "y", Timeout: time.Second, Token: 1, Deadline: fsm.Time(10 * time.Second),
		Attempt: sema.Attempt{Client: clientID(2), Seq: 1}}
	gone := expired
	gone.Attempt.Seq = 3
	held := acquire("ä/1", 2, 2)
	held.Attempt.LowestOpen = 0
	refused := acquire("ä/1", 3, 1)
	overdue := acquire("b", 3, 2)
	apply(tb, m, entryOf(tb, at(0), acquire("a", 1, 1)))
	apply(tb, m, entryOf(tb, at(time.Minute), expired, gone, held, refused, overdue, acquire("c", 0, 0)))
	apply(tb, m, entryOf(tb, at(fsm.ClientRetention),
		fsm.Command{Kind: fsm.Touch, Name: "ä/1", Token: 2, Attempt: sema.Attempt{Client: clientID(2)}},
		fsm.Command{Kind: fsm.Touch, Name: "x", Token: 9, Attempt: sema.Attempt{Client: clientID(4), LowestOpen: 7}}))
	return m
}

// snapshotFile is a snapshot of the message, made by the generated encoder, with
// the header and the trailer that belong to it.
func snapshotFile(t fataler, message *logv1.Snapshot) []byte {
	return sealedSnapshot(marshal(t, &logv1.Snapshot{State: message.State, Semaphores: message.Semaphores, Clients: message.Clients, Tickets: message.Tickets}))
}

// sealedSnapshot is a snapshot of these records with the header and the trailer
// that belong to them.
func sealedSnapshot(records []byte) []byte {
	return sealedBehind("SEMASNAP\x00\x00\x00\x01", records)
}

func sealedBehind(header string, records []byte) []byte {
	file := append([]byte(header), records...)
	trailer := binary.LittleEndian.AppendUint64([]byte{0x7a, 14, 0x09}, uint64(len(file)))
	trailer = binary.LittleEndian.AppendUint32(append(trailer, 0x15), crc32.Checksum(file, castagnoli))
	return append(file, trailer...)
}

// TestSnapshotFormat notices when the format changes: snapshots that are on disk
// must be readable for as long as their version is. Without a line the bytes are
// those from before there were lines.
func TestSnapshotFormat(t *testing.T) {
	golden(t, "testdata/snapshot-v1.golden", snapshotOf(t, withoutLines(t)))
	golden(t, "testdata/snapshot-v1-lines.golden", snapshotOf(t, everything(t)))
}

// TestEntryFormat does the same for log entries: without a wait their bytes are
// those from before there were any.
func TestEntryFormat(t *testing.T) {
	second := acquire("ä/1", 2, 1000)
	second.Token, second.Deadline = 300, 1<<40
	golden(t, "testdata/entry-v1.golden", entryOf(t, at(time.Hour), acquire("a", 1, 1), second).Data)
	golden(t, "testdata/entry-v1-wait.golden", entryOf(t, at(time.Hour), waiting("a", 1, 1), cancel("ä/1", 2, 1000)).Data)
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the format has changed: a new version is due\ngot  %x\nwant %x", file, got, want)
	}
}

// TestDamagedSnapshot: every bit that is flipped and every end that is missing
// is noticed, and changes nothing.
func TestDamagedSnapshot(t *testing.T) {
	snapshot := snapshotOf(t, everything(t))
	m, _ := withHolds(t, 3)
	before := snapshotOf(t, m)
	refused := func(what string, i int, damaged []byte) {
		t.Helper()
		restoring := m.Restore(io.NopCloser(bytes.NewReader(damaged)))
		checking := fsm.CheckSnapshot(bytes.NewReader(damaged))
		if !errors.Is(restoring, fsm.ErrMalformed) || !errors.Is(checking, fsm.ErrMalformed) {
			t.Errorf("%s %d of %d: restored with %v, checked with %v", what, i, len(snapshot), restoring, checking)
		}
	}
	for i := range snapshot {
		refused("cut off at", i, snapshot[:i])
		for bit := range 8 {
			damaged := bytes.Clone(snapshot)
			damaged[i] ^= 1 << bit
			refused("flipped a bit of", i, damaged)
		}
		for _, b := range []byte{0, 255} {
			if damaged := bytes.Clone(snapshot); damaged[i] != b {
				damaged[i] = b
				refused("overwrote", i, damaged)
			}
		}
	}
	refused("a byte behind", 1, append(bytes.Clone(snapshot), 0))
	refused("twice", 1, append(bytes.Clone(snapshot), snapshot...))
	if !bytes.Equal(snapshotOf(t, m), before) {
		t.Error("a damaged snapshot changed the machine")
	}
	if err := errors.Join(m.Restore(io.NopCloser(bytes.NewReader(snapshot))), fsm.CheckSnapshot(bytes.NewReader(snapshot))); err != nil {
		t.Errorf("the snapshot itself: %v", err)
	}
}

// TestSnapshotThatNoMachineWrites: the checksum is right and the content is not.
func TestSnapshotThatNoMachineWrites(t *testing.T) {
	for name, change := range map[string]func(*logv1.Snapshot){
		"no state":               func(s *logv1.Snapshot) { s.State = nil },
		"a clock before 0":       func(s *logv1.Snapshot) { s.State.Clock = -1 },
		"no turn of clients":     func(s *logv1.Snapshot) { s.State.TurnAt = 0 },
		"a turn that is overdue": func(s *logv1.Snapshot) { s.State.TurnAt -= int64(fsm.ClientRetention) },
		"a token above the last": func(s *logv1.Snapshot) { s.State.LastToken = 1 },
		"fewer semaphores":       func(s *logv1.Snapshot) { s.State.SemaphoreCount-- },
		"more semaphores":        func(s *logv1.Snapshot) { s.State.SemaphoreCount++ },
		"more clients":           func(s *logv1.Snapshot) { s.State.ClientCount++ },
		"names out of order":     func(s *logv1.Snapshot) { s.Semaphores[0], s.Semaphores[1] = s.Semaphores[1], s.Semaphores[0] },
		"a name twice":           func(s *logv1.Snapshot) { s.Semaphores[1].Name = s.Semaphores[0].Name },
		"no name":                func(s *logv1.Snapshot) { s.Semaphores[0].Name = "" },
		"a long name":            func(s *logv1.Snapshot) { s.Semaphores[2].Name = strings.Repeat("x", sema.MaxNameBytes+1) },
		"no permits":             func(s *logv1.Snapshot) { s.Semaphores[0].Permits = 0 },
		"two permits":            func(s *logv1.Snapshot) { s.Semaphores[0].Permits = 2 },
		"nobody holds":           func(s *logv1.Snapshot) { s.Semaphores[0].Holders = nil },
		"two hold": func(s *logv1.Snapshot) {
			s.Semaphores[0].Holders = append(s.Semaphores[0].Holders, s.Semaphores[1].Holders...)
		},
		"no token":                func(s *logv1.Snapshot) { s.Semaphores[0].Holders[0].Token = 0 },
		"a deadline before 0":     func(s *logv1.Snapshot) { s.Semaphores[0].Holders[0].Deadline = -1 },
		"half an identity":        func(s *logv1.Snapshot) { s.Semaphores[0].Holders[0].Client = make([]byte, 8) },
		"clients out of order":    func(s *logv1.Snapshot) { s.Clients[0], s.Clients[1] = s.Clients[1], s.Clients[0] },
		"a client twice":          func(s *logv1.Snapshot) { s.Clients[1].Id = s.Clients[0].Id },
		"in both generations":     func(s *logv1.Snapshot) { s.Clients[2].Id = s.Clients[0].Id },
		"a client without id":     func(s *logv1.Snapshot) { s.Clients[0].Id = nil },
		"a client of id zero":     func(s *logv1.Snapshot) { s.Clients[0].Id = make([]byte, 16) },
		"generation 2":            func(s *logv1.Snapshot) { s.Clients[3].Generation = 2 },
		"outcomes out of order":   func(s *logv1.Snapshot) { o := s.Clients[0].Outcomes; o[0], o[1] = o[1], o[0] },
		"an outcome twice":        func(s *logv1.Snapshot) { o := s.Clients[0].Outcomes; o[1].Seq = o[0].Seq },
		"a finished outcome":      func(s *logv1.Snapshot) { s.Clients[0].LowestOpen = 2 },
		"an outcome far ahead":    func(s *logv1.Snapshot) { s.Clients[0].Outcomes[2].Seq = sema.MaxOpenAttempts },
		"status 0":                func(s *logv1.Snapshot) { s.Clients[0].Outcomes[0].Status = 0 },
		"status 5":                func(s *logv1.Snapshot) { s.Clients[0].Outcomes[0].Status = 5 },
		"status 257":              func(s *logv1.Snapshot) { s.Clients[0].Outcomes[1].Status = 257 },
		"forced, but which hold":  func(s *logv1.Snapshot) { s.Clients[0].Outcomes[0].Ended = nil },
		"acquired, but ended one": func(s *logv1.Snapshot) { s.Clients[0].Outcomes[1].Ended = &logv1.Hold{Token: 1} },
	} {
		message := decodeSnapshot(t, snapshotOf(t, everything(t)))
		change(message)
		if err := fsm.CheckSnapshot(bytes.NewReader(snapshotFile(t, message))); !errors.Is(err, fsm.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSnapshotOfAnotherVersion is refused by its version, not as damaged.
func TestSnapshotOfAnotherVersion(t *testing.T) {
	valid := snapshotOf(t, fsm.New())
	records := valid[12 : len(valid)-trailerSize]
	for header, want := range map[string]string{
		"SEMASNAP\x00\x00\x00\x02": "version 2",
		"SEMASNAP\x00\x00\x00\x00": "version 0",
		"SEMASNAP\x01\x00\x00\x00": "version 16777216",
		"SEMASNAQ\x00\x00\x00\x01": "does not start with",
	} {
		err := fsm.CheckSnapshot(bytes.NewReader(sealedBehind(header, records)))
		if !errors.Is(err, fsm.ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", header, err)
		}
	}
}

// TestPersistOnFullDisk cancels the sink and tells why.
func TestPersistOnFullDisk(t *testing.T) {
	m := everything(t)
	size := len(snapshotOf(t, m))
	for _, room := range []int{1, size - 1} {
		s := &sink{room: room}
		if err := capture(t, m).Persist(s); !errors.Is(err, errFull) || !s.cancelled || s.closed {
			t.Errorf("room for %d bytes: %v, cancelled %v, closed %v", room, err, s.cancelled, s.closed)
		}
	}
}

// TestRestoreFromBrokenDisk: what cannot be read is not malformed, wherever the
// disk fails, and changes nothing.
func TestRestoreFromBrokenDisk(t *testing.T) {
	snapshot := snapshotOf(t, everything(t))
	m := fsm.New()
	before := snapshotOf(t, m)
	errBroken := errors.New("input/output error")
	for i := range len(snapshot) + 1 {
		file := &closer{Reader: io.MultiReader(bytes.NewReader(snapshot[:i]), iotest.ErrReader(errBroken))}
		if err := m.Restore(file); !errors.Is(err, errBroken) || errors.Is(err, fsm.ErrMalformed) {
			t.Errorf("broken after %d of %d bytes: %v", i, len(snapshot), err)
		}
		if !file.closed {
			t.Error("the file was left open")
		}
	}
	if !bytes.Equal(snapshotOf(t, m), before) {
		t.Error("half a snapshot changed the machine")
	}
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

// TestRestoreReplacesTheState: nothing of what was there before shows, and what
// was captured before is still of its moment.
func TestRestoreReplacesTheState(t *testing.T) {
	snapshot := snapshotOf(t, everything(t))
	m, _ := withHolds(t, 100)
	before := snapshotOf(t, m)
	captured := capture(t, m)
	file := &closer{Reader: iotest.OneByteReader(bytes.NewReader(snapshot))}
	if err := m.Restore(file); err != nil || !file.closed {
		t.Fatalf("%v, closed %v", err, file.closed)
	}
	if got := snapshotOf(t, m); !bytes.Equal(got, snapshot) {
		t.Errorf("restored\n%x, want\n%x", got, snapshot)
	}
	m.Apply(&raft.Log{Term: 1, Data: entryOf(t, at(2*fsm.ClientRetention), acquire("d", 5, 1)).Data})
	if got := persist(t, captured); !bytes.Equal(got, before) {
		t.Error("what was captured before has changed")
	}
}
