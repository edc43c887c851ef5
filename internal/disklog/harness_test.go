package disklog_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/disklog"
)

// runs is how often what is random is tried; seed makes its chance.
var (
	runs = flag.Int("runs", 20, "how often each test that tries at random does so")
	seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what is random")
)

func chance(t testing.TB) *rand.Rand {
	t.Helper()
	t.Logf("-seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}

// segmentSize is small: a few appends fill a segment.
const segmentSize = 64 << 10

// disk is a directory, and what is beside it in raft.db.
type disk struct {
	dir  string
	mu   sync.Mutex // guards what follows
	keys map[string][]byte
	fail error // of every Set
}

func newDisk(t testing.TB) *disk {
	return &disk{dir: filepath.Join(t.TempDir(), "wal"), keys: map[string][]byte{}}
}

func (d *disk) Get(key []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if value, ok := d.keys[string(key)]; ok {
		return value, nil
	}
	return nil, errors.New("not found")
}

func (d *disk) Set(key, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	d.keys[string(key)] = slices.Clone(value)
	return nil
}

// image is what is on the disk now: what a power cut would leave, if nothing is
// being written.
func (d *disk) image(t testing.TB) *disk {
	t.Helper()
	to := newDisk(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	to.keys = maps.Clone(d.keys)
	if err := os.CopyFS(to.dir, os.DirFS(d.dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func (d *disk) open() (*disklog.Log, error) {
	return disklog.Open(disklog.Options{Dir: d.dir, Store: d, SegmentSize: segmentSize, Logger: hclog.NewNullLogger()})
}

func (d *disk) mustOpen(t testing.TB) *disklog.Log {
	t.Helper()
	l, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // of a log that may have failed on purpose
	return l
}

// segments are the files of the log in order.
func (d *disk) segments(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(d.dir, "*.wal"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no segments: %v", err)
	}
	return paths
}

// tail is the segment that is open.
func (d *disk) tail(t testing.TB) string {
	paths := d.segments(t)
	return paths[len(paths)-1]
}

// entry is an entry with content that can be told from any other's, without a long
// run of zeros.
func entry(index, term uint64, size int) *raft.Log {
	data := bytes.Repeat(fmt.Appendf(nil, "%d/%d ", index, term), size/4+1)
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: data[:size], AppendedAt: time.Unix(1, int64(index)).UTC()}
}

// batch is n entries behind an index.
func batch(last, term uint64, n, size int) []*raft.Log {
	var entries []*raft.Log
	for i := range n {
		entries = append(entries, entry(last+1+uint64(i), term, size))
	}
	return entries
}

func store(t testing.TB, l *disklog.Log, entries []*raft.Log) {
	t.Helper()
	if err := l.StoreLogs(entries); err != nil {
		t.Fatalf("entries %d to %d: %v", entries[0].Index, entries[len(entries)-1].Index, err)
	}
}

// reader is a log or a reading of one.
type reader interface {
	FirstIndex() (uint64, error)
	LastIndex() (uint64, error)
	GetLog(uint64, *raft.Log) error
}

// holds fails the test unless the log has these entries and no others.
func holds(t testing.TB, l reader, want []*raft.Log) {
	t.Helper()
	if err := differs(l, want); err != nil {
		t.Fatal(err)
	}
}

func differs(l reader, want []*raft.Log) error {
	first, err := l.FirstIndex()
	if err != nil {
		return err
	}
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	if len(want) == 0 {
		if first != 0 || last != 0 {
			return fmt.Errorf("it has entries %d to %d, want none", first, last)
		}
		return nil
	}
	if first != want[0].Index || last != want[len(want)-1].Index {
		return fmt.Errorf("it has entries %d to %d, want %d to %d", first, last, want[0].Index, want[len(want)-1].Index)
	}
	for _, w := range want {
		var got raft.Log
		if err := l.GetLog(w.Index, &got); err != nil {
			return fmt.Errorf("entry %d: %w", w.Index, err)
		}
		if got.Index != w.Index || got.Term != w.Term || got.Type != w.Type || !bytes.Equal(got.Data, w.Data) || !got.AppendedAt.Equal(w.AppendedAt) {
			return fmt.Errorf("entry %d differs: %+v", w.Index, got)
		}
	}
	for _, none := range []uint64{first - 1, last + 1} {
		var got raft.Log
		if err := l.GetLog(none, &got); !errors.Is(err, raft.ErrLogNotFound) {
			return fmt.Errorf("entry %d, which it has not: %w", none, err)
		}
	}
	return nil
}

func check(t testing.TB, d *disk) *disklog.Reading {
	t.Helper()
	r, err := disklog.Check(d.dir, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
