package disklog_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"
)

// TestLibraryAlone is what hashicorp/raft-wal does by itself, and why it is not left to.
// Where one of these fails, it has learnt, and something here may go.
func TestLibraryAlone(t *testing.T) {
	t.Parallel()
	for name, found := range map[string]func(*testing.T){
		"a power cut when a segment is full ends the log":            fullAndCut,
		"a missing segment is made anew, empty":                      missingSegment,
		"one bit at its beginning costs the whole segment":           bitInFrame,
		"one bit in its last append costs that":                      bitInLast,
		"one bit in an entry is not noticed":                         bitInEntry,
		"what two power cuts have torn is taken for a part of a log": twoCuts,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); found(t) })
	}
}

func openLibrary(t *testing.T, dir string, meta types.MetaStore) *wal.WAL {
	t.Helper()
	w, err := wal.Open(dir, wal.WithSegmentSize(segmentSize), wal.WithMetaStore(meta))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// damagedLibrary opens a log of three appends after a change to its file.
func damagedLibrary(t *testing.T, change func(data []byte, end int)) *wal.WAL {
	t.Helper()
	dir := t.TempDir()
	w := openLibrary(t, dir, new(metadb.BoltMetaDB))
	for i := range uint64(3) {
		if err := w.StoreLog(entry(i+1, 1, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := onlySegment(t, dir)
	data := read(t, path)
	change(data, len(bytes.TrimRight(data, "\x00")))
	write(t, path, data)
	return openLibrary(t, dir, new(metadb.BoltMetaDB))
}

func onlySegment(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v, %v", paths, err)
	}
	return paths[0]
}

func hasLast(t *testing.T, w *wal.WAL, want uint64) {
	t.Helper()
	if last, err := w.LastIndex(); err != nil || last != want {
		t.Fatalf("it ends with entry %d, %v, want %d", last, err, want)
	}
}

// deafMeta takes nothing in any more.
type deafMeta struct {
	*metadb.BoltMetaDB
	deaf bool
}

func (m *deafMeta) CommitState(s types.PersistentState) error {
	if m.deaf {
		return errors.New("the power is gone")
	}
	return m.BoltMetaDB.CommitState(s)
}

func fullAndCut(t *testing.T) {
	dir := t.TempDir()
	meta := &deafMeta{BoltMetaDB: new(metadb.BoltMetaDB)}
	w := openLibrary(t, dir, meta)
	if err := w.StoreLog(entry(1, 1, 100)); err != nil {
		t.Fatal(err)
	}
	meta.deaf = true
	if err := w.StoreLog(entry(2, 1, segmentSize)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w = openLibrary(t, dir, new(metadb.BoltMetaDB))
		hasLast(t, w, 2)
		if err := w.StoreLog(entry(3, 1, 100)); !errors.Is(err, wal.ErrSealed) {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func missingSegment(t *testing.T) {
	dir := t.TempDir()
	w := openLibrary(t, dir, new(metadb.BoltMetaDB))
	if err := w.StoreLog(entry(1, 1, 100)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	remove(t, onlySegment(t, dir))
	hasLast(t, openLibrary(t, dir, new(metadb.BoltMetaDB)), 0)
}

func bitInFrame(t *testing.T) {
	hasLast(t, damagedLibrary(t, func(data []byte, _ int) { data[32] ^= 8 }), 0)
}

func bitInLast(t *testing.T) {
	hasLast(t, damagedLibrary(t, func(data []byte, end int) { data[end-60] ^= 8 }), 2)
}

func bitInEntry(t *testing.T) {
	w := damagedLibrary(t, func(data []byte, _ int) { data[80] ^= 8 })
	hasLast(t, w, 3)
	var got raft.Log
	if err := w.GetLog(1, &got); err != nil || bytes.Equal(got.Data, entry(1, 1, 100).Data) {
		t.Fatalf("%+v, %v", got, err)
	}
}

// twoCuts: the first cut tears a long append, of which the rest stays behind what is
// appended then; the second tears an append that ends where an entry of that rest
// begins.
func twoCuts(t *testing.T) {
	dir := t.TempDir()
	w := openLibrary(t, dir, new(metadb.BoltMetaDB))
	if err := w.StoreLog(entry(1, 1, 100)); err != nil {
		t.Fatal(err)
	}
	path := onlySegment(t, dir)
	var long []*raft.Log
	for i := range uint64(20) {
		long = append(long, entry(i+2, 1, 1000))
	}
	if err := w.StoreLogs(long); err != nil {
		t.Fatal(err)
	}
	torn := read(t, path)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	clear(torn[1024:1536])
	write(t, path, torn)

	w = openLibrary(t, dir, new(metadb.BoltMetaDB))
	hasLast(t, w, 1)
	if err := w.StoreLog(entry(2, 2, 1000)); err != nil {
		t.Fatal(err)
	}
	before := read(t, path)
	if err := w.StoreLog(entry(3, 2, 984)); err != nil { // with two commits it is as long as two entries
		t.Fatal(err)
	}
	torn = read(t, path)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	copy(torn[1536:2048], before[1536:2048])
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}

	w = openLibrary(t, dir, new(metadb.BoltMetaDB))
	hasLast(t, w, 3) // which was never acknowledged, and is not what was written
	var got raft.Log
	if err := w.GetLog(3, &got); err != nil || bytes.Equal(got.Data, entry(3, 2, 984).Data) {
		t.Fatalf("%+v, %v", got, err)
	}
}
