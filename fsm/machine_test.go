package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

// unappliable are entries that stop a machine. Those with commands begin with
// one that could be applied.
func unappliable(t testing.TB) map[string][]byte {
	valid := acquire("new", 7, 1)
	body := func(change func(*logv1.Batch)) []byte {
		message := batchMessage(fsm.Batch{Stamp: at(time.Hour), Commands: []fsm.Command{valid, valid}})
		change(message)
		return marshal(t, message)
	}
	entry := sealed(body(func(*logv1.Batch) {}))
	changed := func(i int, b byte) []byte {
		e := bytes.Clone(entry)
		e[i] = b
		return e
	}
	with := func(fields ...byte) []byte { return sealed(append(body(func(*logv1.Batch) {}), fields...)) }
	first := body(func(b *logv1.Batch) { b.Commands = b.Commands[:1] })
	faults := map[string][]byte{
		"nothing at all":              {},
		"half a header":               entry[:4],
		"version 0":                   changed(0, 0),
		"version 2":                   changed(0, 2),
		"another checksum":            changed(1, entry[1]+1),
		"another byte":                changed(len(entry)-1, entry[len(entry)-1]+1),
		"a byte too few":              entry[:len(entry)-1],
		"a byte too many":             append(bytes.Clone(entry), 0),
		"a kind of the future":        sealed(body(func(b *logv1.Batch) { b.Commands[1].Kind = 8 })),
		"kind 257":                    sealed(body(func(b *logv1.Batch) { b.Commands[1].Kind = 257 })),
		"a negative kind":             sealed(body(func(b *logv1.Batch) { b.Commands[1].Kind = -1 })),
		"no kind":                     sealed(body(func(b *logv1.Batch) { b.Commands[1].Kind = 0 })),
		"an empty command":            with(0x22, 0),
		"a field of the future":       with(5<<3, 1),
		"a field far in the future":   with(0x80, 0x01, 1),
		"field 0":                     with(0, 1),
		"a command with a new field":  with(0x22, 4, 0x08, 1, 11<<3, 1),
		"a command in a field 4 int":  with(4<<3, 1),
		"a clock before 0":            sealed(body(func(b *logv1.Batch) { b.Clock = -1 })),
		"a deadline before 0":         sealed(body(func(b *logv1.Batch) { b.Commands[1].Deadline = -1 })),
		"a name too long":             sealed(body(func(b *logv1.Batch) { b.Commands[1].Name = strings.Repeat("n", sema.MaxNameBytes+1) })),
		"an owner too long":           sealed(body(func(b *logv1.Batch) { b.Commands[1].Owner = strings.Repeat("o", sema.MaxOwnerBytes+1) })),
		"a name that is not UTF-8":    with(0x22, 5, 0x08, 1, 0x12, 1, 0xff),
		"half a client":               sealed(body(func(b *logv1.Batch) { b.Commands[1].Client = make([]byte, 8) })),
		"a client of zeros":           sealed(body(func(b *logv1.Batch) { b.Commands[1].Client = make([]byte, 16) })),
		"a field twice":               with(0x22, 6, 0x08, 1, 0x28, 1, 0x28, 2),
		"fields out of order":         with(0x08, 1),
		"a zero that need not be":     with(0x22, 4, 0x08, 1, 0x28, 0),
		"an empty name":               with(0x22, 4, 0x08, 1, 0x12, 0),
		"a padded number":             with(0x22, 5, 0x08, 1, 0x28, 0x81, 0),
		"a padded length":             with(0x22, 0x82, 0, 0x08, 1),
		"a number of eleven bytes":    with(append([]byte{0x22, 13, 0x08}, append(bytes.Repeat([]byte{0xff}, 11), 1)...)...),
		"a number above 64 bits":      with(append([]byte{0x22, 13, 0x08, 1, 0x28}, append(bytes.Repeat([]byte{0xff}, 9), 2)...)...),
		"a number that is cut off":    with(0x22, 3, 0x08, 1, 0x28),
		"a length beyond the end":     with(0x22, 3, 0x08, 1),
		"a length of 2^63":            with(append([]byte{0x22}, append(bytes.Repeat([]byte{0x80}, 9), 1)...)...),
		"a group":                     with(0x22, 4, 0x08, 1, 0x2b, 0x2c),
		"a fixed number":              with(append([]byte{0x22, 11, 0x08, 1, 0x29}, make([]byte, 8)...)...),
		"1025 commands":               sealed(append(first, bytes.Repeat([]byte{0x22, 2, 0x08, 6}, fsm.MaxCommands)...)),
		"more than MaxBatchBytes":     sealed(bytes.Repeat([]byte{0x22, 2, 0x08, 6}, fsm.MaxBatchBytes/4)),
		"another message altogether":  snapshotOf(t, everything(t)),
		"the generated empty command": sealed(body(func(b *logv1.Batch) { b.Commands = append(b.Commands, &logv1.Command{}) })),
	}
	maps.Copy(faults, unappliableWaits(with))
	maps.Copy(faults, unappliableAccounts(with))
	return faults
}

// unappliableWaits are those that have to do with waiting in line.
func unappliableWaits(with func(fields ...byte) []byte) map[string][]byte {
	return map[string][]byte{
		"a wait that is 2":       with(0x22, 4, 0x08, 1, 10<<3, 2),
		"a wait that is false":   with(0x22, 4, 0x08, 1, 10<<3, 0),
		"a wait that is padded":  with(0x22, 5, 0x08, 1, 10<<3, 0x81, 0),
		"a wait twice":           with(0x22, 6, 0x08, 1, 10<<3, 1, 10<<3, 1),
		"a wait before the name": with(0x22, 7, 0x08, 1, 10<<3, 1, 0x12, 1, 'a'),
		"a wait of bytes":        with(0x22, 5, 0x08, 1, 10<<3|2, 1, 1),
	}
}

// TestEntryThatCannotBeApplied stops the machine for good, on every node with
// the same words, and with nothing of the entry applied.
func TestEntryThatCannotBeApplied(t *testing.T) {
	good := entryOf(t, at(time.Hour), acquire("later", 7, 2))
	for name, data := range unappliable(t) {
		t.Run(name, func(t *testing.T) {
			machines := [2]*fsm.Machine{everything(t), restore(t, snapshotOf(t, everything(t)))}
			clock := machines[0].Clock()
			before := machines[0].List("", "", 100, 10)
			entry := &raft.Log{Index: 17, Term: 1, Data: data}
			for _, m := range machines {
				stopped, ok := m.Apply(entry).(error)
				if !ok || !errors.Is(stopped, fsm.ErrMalformed) || m.Err() != stopped {
					t.Fatalf("answered %v, and Err is %v", stopped, m.Err())
				}
				if !strings.Contains(stopped.Error(), "entry 17 (term 1)") {
					t.Errorf("%q does not name the entry", stopped)
				}
				wantStopped(t, m, good)
				if after := m.List("", "", 100, 10); !reflect.DeepEqual(after, before) || m.Look("new").Held || m.Look("later").Held || m.Clock() != clock {
					t.Errorf("%+v at %v, before %+v at %v", after, m.Clock(), before, clock)
				}
			}
			if a, b := machines[0].Err().Error(), machines[1].Err().Error(); a != b {
				t.Errorf("one says %q, the other %q", a, b)
			}
		})
	}
}

// wantStopped checks that a machine refuses everything that could change it or
// pass it on.
func wantStopped(t testing.TB, m *fsm.Machine, good *raft.Log) {
	t.Helper()
	select {
	case <-m.Failed():
	default:
		t.Error("Failed is open")
	}
	stopped := m.Err()
	if again, ok := m.Apply(good).(error); !ok || again != stopped {
		t.Errorf("the next entry is answered with %v", again)
	}
	if _, err := m.Snapshot(); err != stopped {
		t.Errorf("Snapshot says %v", err)
	}
	file := &closer{Reader: bytes.NewReader(snapshotOf(t, fsm.New()))}
	if err := m.Restore(file); err != stopped || !file.closed {
		t.Errorf("Restore says %v, closed %v", err, file.closed)
	}
}

// TestMachineThatWorks says nothing of failure, and a refused snapshot is none.
func TestMachineThatWorks(t *testing.T) {
	m := fsm.New()
	apply(t, m, entryOf(t, at(0)))
	if err := m.Restore(io.NopCloser(strings.NewReader("SEMASNAP"))); !errors.Is(err, fsm.ErrMalformed) {
		t.Errorf("restored with %v", err)
	}
	apply(t, m, entryOf(t, at(0)))
	select {
	case <-m.Failed():
		t.Error("Failed is closed")
	default:
	}
	if err := m.Err(); err != nil {
		t.Error(err)
	}
}

// TestApplyKeepsNothingOfTheEntry: raft may use the bytes again.
func TestApplyKeepsNothingOfTheEntry(t *testing.T) {
	m := fsm.New()
	entry := entryOf(t, at(0), acquire("name", 1, 1))
	results := apply(t, m, entry)
	before := snapshotOf(t, m)
	clear(entry.Data)
	apply(t, m, entryOf(t, at(0), fsm.Command{Kind: fsm.Query, Name: "other"}))
	if got := results[0].Info.Name + results[0].Info.Owner; got != "nameowner" {
		t.Errorf("the answer has become %q", got)
	}
	if !bytes.Equal(snapshotOf(t, m), before) {
		t.Error("the state has changed with the entry")
	}
}

// TestEndOfTime: a clock at its very end overflows nothing.
func TestEndOfTime(t *testing.T) {
	m := fsm.New()
	end := fsm.Time(1<<63 - 1)
	stamp := fsm.Stamp{Term: 1, Clock: end}
	for seq := uint64(1); seq <= 3; seq++ {
		results := apply(t, m, entryOf(t, stamp, acquire("a", 1, seq), fsm.Command{Kind: fsm.Expire, Name: "a", Token: seq, Deadline: end}))
		if results[0].Deadline != end || results[1].Ended != seq {
			t.Errorf("attempt %d: %+v", seq, results)
		}
	}
	if got := snapshotOf(t, restore(t, snapshotOf(t, m))); !bytes.Equal(got, snapshotOf(t, m)) {
		t.Error("it does not survive a restore")
	}
	if fsm.Time(5).Add(-time.Nanosecond) != 4 {
		t.Error("5 - 1 is not 4")
	}
}
