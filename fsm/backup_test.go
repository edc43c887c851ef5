package fsm_test

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// Generations leave room for every token that a cluster may have granted after the
// last one known, and the last token of all fits a signed number.
func TestGenerations(t *testing.T) {
	t.Parallel()
	const room, whole = uint64(1) << (fsm.TokenShift - 1), uint64(1) << fsm.TokenShift
	for _, tc := range []struct{ last, want uint64 }{
		{0, 1}, {1, 1}, {room - 1, 1}, {room, 2}, {whole, 2}, {whole + 1000, 2}, {whole + room, 3}, {5*whole + 7, 6},
	} {
		got := fsm.NextGeneration(tc.last)
		if got != tc.want || got<<fsm.TokenShift <= tc.last+room {
			t.Errorf("after token %d: generation %d, want %d", tc.last, got, tc.want)
		}
	}
	if last := uint64(fsm.MaxGeneration)<<fsm.TokenShift + whole - 1; last != math.MaxInt64 {
		t.Errorf("the last token of all is %d", last)
	}
}

// A backup is the state as it was, whatever is applied before it is written, and
// knows what it has.
func TestBackupIsOfOneMoment(t *testing.T) {
	t.Parallel()
	m := everything(t)
	entry := entryOf(t, at(fsm.ClientRetention), acquire("one more", 9, 1))
	entry.Index = 77
	apply(t, m, entry)
	want := snapshotOf(t, m)
	b, err := m.Backup()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	facts := b.Facts()
	apply(t, m, entryOf(t, at(fsm.ClientRetention+time.Second), acquire("later", 9, 2), fsm.Command{Kind: fsm.Release, Name: "b", Token: 3}))
	var got bytes.Buffer
	if err := b.WriteSnapshot(&got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("the backup is not the state that was captured")
	}
	is := restore(t, got.Bytes()).Facts()
	is.Index, is.Term = 77, 1
	if facts != is || facts.Holds != 4 || facts.Waiting != 3 {
		t.Errorf("it says that it has %+v, and has %+v", facts, is)
	}
}

// The state of a new cluster: what is held stays held, each with the time left that
// it had, retries find what they were granted, and tokens begin far above.
func TestSucceed(t *testing.T) {
	t.Parallel()
	m := everything(t)
	before, clock := m.Look("ä/1"), m.Clock()
	if err := m.Succeed(fsm.Succession{Generation: 0}); err == nil {
		t.Fatal("the generation of the old cluster was accepted")
	}
	if err := m.Succeed(fsm.Succession{Generation: fsm.MaxGeneration + 1}); err == nil {
		t.Fatal("a generation was accepted whose tokens fit no signed number")
	}
	if err := m.Succeed(fsm.Succession{Generation: 3}); err != nil {
		t.Fatal(err)
	}
	m = restore(t, snapshotOf(t, m))
	if after := m.Look("ä/1"); !reflect.DeepEqual(after, before) || m.Clock() != clock {
		t.Errorf("the hold was %+v at %v, and is %+v at %v", before, clock, after, m.Clock())
	}
	again := acquire("ä/1", 2, 2)
	again.Attempt.LowestOpen = 0
	results := apply(t, m, entryOf(t, at(fsm.ClientRetention), again, acquire("new", 8, 1)))
	if r := results[0]; r.Info.Status != sema.Acquired || r.Info.Token != before.Token {
		t.Errorf("the holder's retry: %+v", r)
	}
	if r := results[1]; r.Info.Token != 3<<fsm.TokenShift+1 {
		t.Errorf("the first token is %d", r.Info.Token)
	}
}

// Without holds there are no lines either. What clients asked stays decided.
func TestSucceedWithoutHolds(t *testing.T) {
	t.Parallel()
	m := everything(t)
	clients := m.Facts().Clients
	if err := m.Succeed(fsm.Succession{Generation: 1, DropHolds: true}); err != nil {
		t.Fatal(err)
	}
	m = restore(t, snapshotOf(t, m))
	if f := m.Facts(); f.Holds != 0 || f.Waiting != 0 || f.Clients != clients || clients == 0 {
		t.Errorf("left are %+v, of %d clients", f, clients)
	}
	again := acquire("ä/1", 2, 2)
	again.Attempt.LowestOpen = 0
	late := waiting("ä/1", 6, 1)
	results := apply(t, m, entryOf(t, at(fsm.ClientRetention), again, late))
	if r := results[0]; r.Info.Status == sema.Acquired {
		t.Errorf("an attempt whose hold was dropped was granted again: %+v", r)
	}
	if r := results[1]; r.Info.Status != sema.Acquired {
		t.Errorf("the next one: %+v", r)
	}
}
