package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

// The mark of a level is of that level, raises the state to it and changes nothing else;
// whoever knows less stops at it, and takes no snapshot that has it.
func TestMark(t *testing.T) {
	t.Parallel()
	for level := fsm.LevelBase + 1; level <= fsm.Level; level++ {
		mark := fsm.Mark(level)
		if mark.Level() != level {
			t.Fatalf("the mark of level %d is of level %d", level, mark.Level())
		}
		m := fsm.New()
		before := decodeSnapshot(t, snapshotOf(t, m))
		entry := entryOf(t, fsm.Stamp{Term: 1}, mark)
		apply(t, m, entry)
		marked := snapshotOf(t, m)
		if m.Level() != level {
			t.Errorf("the state is at level %d, want %d", m.Level(), level)
		}
		before.State.Level = uint64(level)
		if !bytes.Equal(snapshotFile(t, before), marked) {
			t.Errorf("the mark of level %d left\n%v\nwant\n%v", level, decodeSnapshot(t, marked), before)
		}

		older := fsm.New()
		older.Know(level - 1)
		if err, _ := older.Apply(entry).(error); !errors.Is(err, fsm.ErrTooNew) {
			t.Errorf("one that knows less applied it: %v", err)
		}
		older = fsm.New()
		older.Know(level - 1)
		for what, err := range map[string]error{
			"the entry":                fsm.CheckEntry(entry.Data, level-1),
			"the snapshot":             fsm.CheckSnapshotAt(bytes.NewReader(marked), level-1),
			"the snapshot, to restore": older.Restore(io.NopCloser(bytes.NewReader(marked))),
		} {
			if !errors.Is(err, fsm.ErrTooNew) || !errors.Is(err, fsm.ErrMalformed) {
				t.Errorf("%s was not refused as too new: %v", what, err)
			}
		}
		if err := errors.Join(fsm.CheckEntry(entry.Data, level), fsm.CheckSnapshotAt(bytes.NewReader(marked), level)); err != nil {
			t.Errorf("one that knows level %d: %v", level, err)
		}
	}
}

// What a newer build may have written is told from what nobody has.
func TestTooNewIsNotDamaged(t *testing.T) {
	t.Parallel()
	too := map[string]bool{"version 2": true, "a kind of the future": true, "a field of the future": true, "a field far in the future": true}
	for name, data := range unappliable(t) {
		err, _ := fsm.New().Apply(&raft.Log{Term: 1, Data: data}).(error)
		if too[name] && !errors.Is(err, fsm.ErrTooNew) {
			t.Errorf("%s: %v, want it told as too new", name, err)
		}
		if name == "another byte" || name == "another checksum" || name == "version 0" || name == "no kind" {
			if errors.Is(err, fsm.ErrTooNew) {
				t.Errorf("%s is damage: %v", name, err)
			}
		}
		delete(too, name)
	}
	if len(too) > 0 {
		t.Errorf("not tried: %v", too)
	}
	records := marshal(t, &logv1.Snapshot{State: decodeSnapshot(t, snapshotOf(t, everything(t))).State})
	for name, file := range map[string][]byte{
		"version 2":              sealedBehind("SEMASNAP\x00\x00\x00\x02", records),
		"a record of the future": sealedSnapshot(append(bytes.Clone(records), 5<<3|2, 0)),
		"a level of the future":  snapshotFile(t, &logv1.Snapshot{State: &logv1.State{Level: fsm.Level + 1}}),
	} {
		if err := fsm.CheckSnapshot(bytes.NewReader(file)); !errors.Is(err, fsm.ErrTooNew) {
			t.Errorf("a snapshot with %s: %v", name, err)
		}
	}
	if err := fsm.CheckSnapshot(bytes.NewReader(sealedBehind("SEMASNAP\x00\x00\x00\x00", records))); !errors.Is(err, fsm.ErrMalformed) || errors.Is(err, fsm.ErrTooNew) {
		t.Errorf("version 0: %v", err)
	}
}
