package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
)

// The input of these targets is a body; the header with its checksum, which
// chance would never hit, is made in the target. Each has a twin that takes the
// bytes as they are. The seeds here are enough to get deep; what the fuzzer found
// worth keeping is in testdata/fuzz.

// FuzzDecodeBatch: every body is refused with ErrMalformed or has this one
// encoding, and the generated decoder reads the same values from it.
func FuzzDecodeBatch(f *testing.F) {
	for _, entry := range seedEntries(f) {
		f.Add(entry[5:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if batch, ok := decodes(t, sealed(body)); ok {
			if generated := generatedBatch(t, body); !sameBatch(generated, batch) {
				t.Fatalf("decoded %+v, the generated decoder reads %+v", batch, generated)
			}
		}
	})
}

// FuzzDecodeEntry takes the header too.
func FuzzDecodeEntry(f *testing.F) {
	for _, entry := range seedEntries(f) {
		f.Add(entry)
	}
	f.Fuzz(func(t *testing.T, entry []byte) { decodes(t, entry) })
}

// decodes reports whether an entry can be decoded. If so, it encodes to the same
// bytes again.
func decodes(t *testing.T, entry []byte) (fsm.Batch, bool) {
	batch, err := fsm.DecodeBatch(entry)
	if err != nil {
		if !errors.Is(err, fsm.ErrMalformed) {
			t.Fatalf("refused with %v", err)
		}
		return batch, false
	}
	if again, err := fsm.AppendBatch(nil, batch); err != nil || !bytes.Equal(again, entry) {
		t.Fatalf("%x encodes to %x, %v", entry, again, err)
	}
	return batch, true
}

// FuzzRestore: every snapshot is refused with ErrMalformed and changes nothing,
// or is what a machine writes that has its state.
func FuzzRestore(f *testing.F) {
	for _, snapshot := range seedSnapshots(f) {
		f.Add(snapshot[12 : len(snapshot)-trailerSize])
	}
	f.Fuzz(func(t *testing.T, records []byte) { restores(t, sealedSnapshot(records)) })
}

// FuzzRestoreFile takes header and trailer too.
func FuzzRestoreFile(f *testing.F) {
	for _, snapshot := range seedSnapshots(f) {
		f.Add(snapshot)
	}
	f.Fuzz(restores)
}

// trailerSize is how long the last record of a snapshot is, tag and length
// included.
const trailerSize = 16

func restores(t *testing.T, file []byte) {
	m := fsm.New()
	apply(t, m, entryOf(t, at(0), acquire("before", 9, 9)))
	before := snapshotOf(t, m)
	err := m.Restore(io.NopCloser(bytes.NewReader(file)))
	if (err == nil) != (fsm.CheckSnapshot(bytes.NewReader(file)) == nil) {
		t.Fatalf("restored with %v, but checked otherwise", err)
	}
	want := file
	if err != nil {
		want = before
		if !errors.Is(err, fsm.ErrMalformed) {
			t.Fatalf("refused with %v", err)
		}
	}
	if got := snapshotOf(t, m); !bytes.Equal(got, want) {
		t.Fatalf("restored with %v\ngot  %x\nwant %x", err, got, want)
	}
	if err := knownOnly(decodeSnapshot(t, want).ProtoReflect()); err != nil {
		t.Fatal(err)
	}
	if last := m.Facts().LastToken; m.Succeed(fsm.Succession{Generation: fsm.NextGeneration(last)}) == nil && m.Facts().LastToken <= last {
		t.Fatalf("of a new cluster the last token is %d, after %d", m.Facts().LastToken, last)
	}
}

// FuzzApply: an entry is applied or stops the machine, on two machines alike.
func FuzzApply(f *testing.F) {
	for _, entry := range seedEntries(f) {
		f.Add(entry[5:], uint64(1))
	}
	before := snapshotOf(f, everything(f))
	f.Fuzz(func(t *testing.T, body []byte, term uint64) { applies(t, before, sealed(body), term) })
}

// FuzzApplyEntry takes the header too.
func FuzzApplyEntry(f *testing.F) {
	for _, entry := range seedEntries(f) {
		f.Add(entry, uint64(1))
	}
	before := snapshotOf(f, everything(f))
	f.Fuzz(func(t *testing.T, entry []byte, term uint64) { applies(t, before, entry, term) })
}

func applies(t *testing.T, before, data []byte, term uint64) {
	first, second := restore(t, before), restore(t, before)
	entry := &raft.Log{Index: 5, Term: term, Data: data}
	a, b := first.Apply(entry), second.Apply(entry)
	results, applied := a.([]fsm.Result)
	if !applied {
		stopped, ok := a.(error)
		if !ok || !errors.Is(stopped, fsm.ErrMalformed) || b.(error).Error() != stopped.Error() {
			t.Fatalf("one answers %v, the other %v", a, b)
		}
		wantStopped(t, first, entryOf(t, at(0)))
		wantStopped(t, second, entryOf(t, at(0)))
		return
	}
	batch, err := fsm.DecodeBatch(data)
	if err != nil || len(results) != len(batch.Commands) || !reflect.DeepEqual(a, b) {
		t.Fatalf("%d commands (%v) are answered with\n%+v and\n%+v", len(batch.Commands), err, a, b)
	}
	snapshot := snapshotOf(t, first)
	if !bytes.Equal(snapshotOf(t, second), snapshot) || !bytes.Equal(snapshotOf(t, restore(t, snapshot)), snapshot) {
		t.Fatal("the machines differ")
	}
}

// seedEntries have every kind of command, lines, and faults.
func seedEntries(f *testing.F) (entries [][]byte) {
	named := fsm.Command{Name: "ä/1", Owner: "x", Timeout: 1e9, Token: 2, Deadline: 70e9, Attempt: acquire("", 2, 4).Attempt}
	var all []fsm.Command
	for kind := fsm.Acquire; kind <= fsm.Cancel; kind++ {
		named.Kind = kind
		all = append(all, named)
	}
	entries = append(entries, entryOf(f, at(0)).Data, entryOf(f, at(2*fsm.ClientRetention), all...).Data,
		entryOf(f, at(1), acquire("new", 0, 0), acquire("new", 4, 9)).Data,
		// Onto the lines of everything: a place, a retry, a refusal and a cancellation; and what serves them.
		entryOf(f, at(1), waiting("b", 5, 1), waiting("ä/1", 2, 4), waiting("b", 0, 0), cancel("ä/1", 4, 8)).Data,
		entryOf(f, at(1), fsm.Command{Kind: fsm.Release, Name: "ä/1", Token: 2}, fsm.Command{Kind: fsm.ForceRelease, Name: "b", Token: 3},
			fsm.Command{Kind: fsm.Expire, Name: "c", Token: 4}).Data,
		entryOf(f, at(1), onAccount(acquire("new", 5, 1), "a", 2), onAccount(waiting("b", 5, 2), "a", 2), onAccount(waiting("b", 5, 3), "a", 2)).Data)
	faults := unappliable(f)
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		if data := faults[name]; len(data) > 5 && len(data) < 1<<12 {
			entries = append(entries, data)
		}
	}
	return entries
}

func seedSnapshots(f *testing.F) [][]byte {
	few, _ := withHolds(f, 3)
	seeds := [][]byte{snapshotOf(f, fsm.New()), snapshotOf(f, everything(f)), snapshotOf(f, withoutLines(f)), snapshotOf(f, few), snapshotOf(f, withAccounts(f))}
	for _, name := range slices.Sorted(maps.Keys(lies)) {
		s := decodeSnapshot(f, seeds[1])
		lies[name].change(s)
		seeds = append(seeds, snapshotFile(f, s))
	}
	return seeds
}
