package disklog_test

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/disklog"
)

const sector = 512

// tear makes of two states of a file one that a power cut between them can leave:
// of the sectors that differ, some are new.
func tear(r *rand.Rand, before, after []byte) []byte {
	torn := append([]byte(nil), before...)
	torn = append(torn, after[len(before):]...)
	keep := r.Float64()
	for from := 0; from < len(before); from += sector {
		if to := min(from+sector, len(before)); r.Float64() < keep {
			copy(torn[from:to], after[from:to])
		}
	}
	return torn
}

// TestPowerCuts cuts the power in the middle of an append, again and again on the
// same log: what was acknowledged stays, the append is there in whole or not at all,
// and the log goes on.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	r := chance(t)
	d := newDisk(t)
	var want []*raft.Log
	last, kept, gone := uint64(0), 0, 0
	for range 2 * *runs {
		l := d.mustOpen(t)
		holds(t, l, want)
		for range r.IntN(4) {
			entries := batch(last, 1, 1+r.IntN(5), r.IntN(4000))
			store(t, l, entries)
			want, last = append(want, entries...), last+uint64(len(entries))
		}
		if n := len(want) - 60; n > 0 {
			if err := l.DeleteRange(want[0].Index, want[n-1].Index); err != nil {
				t.Fatal(err)
			}
			want = want[n:]
		}
		settled(t, l)
		crashed := d.image(t)
		entries := batch(last, 1, 1+r.IntN(5), r.IntN(4000))
		path := d.tail(t)
		before := read(t, path)
		store(t, l, entries)
		write(t, filepath.Join(crashed.dir, filepath.Base(path)), tear(r, before, read(t, path)))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		d = crashed
		reading := check(t, d)
		if got, _ := reading.LastIndex(); got == last {
			gone++
		} else {
			kept++
			want, last = append(want, entries...), last+uint64(len(entries))
		}
		holds(t, reading, want)
	}
	if t.Logf("%d appends were cut: %d stayed in whole, %d are gone in whole", kept+gone, kept, gone); gone == 0 || *runs > 1 && kept == 0 {
		t.Error("the cuts were all alike")
	}
}

// settled waits until a segment that is full has its successor: raft-wal makes it
// beside, and waits for it before it removes anything.
func settled(t *testing.T, l *disklog.Log) {
	t.Helper()
	if last, err := l.LastIndex(); err != nil {
		t.Fatal(err)
	} else if err := l.DeleteRange(last+1, last+1); err != nil {
		t.Fatal(err)
	}
}

// TestCutBetweenSegments: the power fails when a segment is full and the next is not
// there, or is and is not listed.
func TestCutBetweenSegments(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	l := d.mustOpen(t)
	store(t, l, batch(0, 1, 1, 100))
	table := d.image(t).keys
	want := append(batch(0, 1, 1, 100), batch(1, 1, 3, segmentSize/2)...)
	store(t, l, want[1:])
	settled(t, l)
	for name, crash := range map[string]func(*disk){
		"not there":            func(d *disk) { remove(t, d.tail(t)) },
		"there and not listed": func(*disk) {},
		"there in part":        func(d *disk) { write(t, d.tail(t), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			d := d.image(t)
			d.keys = maps.Clone(table)
			crash(d)
			holds(t, check(t, d), want)
			l := d.mustOpen(t)
			holds(t, l, want)
			more := batch(4, 1, 1, 100)
			store(t, l, more)
			holds(t, l, append(want[:4:4], more...))
			if n := len(d.segments(t)); n != 2 {
				t.Errorf("%d segments, want 2", n)
			}
		})
	}
}

// TestCut cuts a stopped log's last file at every 8th byte of its last two appends:
// something that was acknowledged would be missing, and so it is refused. It was made
// longer than that before anything was written.
func TestCut(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	l := d.mustOpen(t)
	store(t, l, batch(0, 1, 5, 100))
	store(t, l, batch(5, 1, 5, 100))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := d.tail(t)
	whole := read(t, path)
	for n := 0; n < 2000; n += 8 {
		for _, garbage := range []string{"", "garbage behind it"} {
			write(t, path, append(whole[:n:n], garbage...))
			refused(t, d, path, "was cut")
		}
	}
	write(t, path, whole)
	holds(t, check(t, d), batch(0, 1, 10, 100))
}

// TestGarbageBehind puts something behind the log that no append leaves there.
func TestGarbageBehind(t *testing.T) {
	t.Parallel()
	r := chance(t)
	d := newDisk(t)
	l := d.mustOpen(t)
	want := batch(0, 1, 5, 100)
	store(t, l, want)
	path := d.tail(t)
	whole := read(t, path)
	end := len(strings.TrimRight(string(whole), "\x00"))
	end += (8 - end%8) % 8
	for range *runs {
		crashed := d.image(t)
		damaged := append([]byte(nil), whole...)
		for i := range 1 + r.IntN(2000) {
			damaged[end+i] = byte(1 + r.IntN(255))
		}
		path := filepath.Join(crashed.dir, filepath.Base(path))
		write(t, path, damaged)
		refused(t, crashed, path, "damaged")
	}
}

// refused fails the test unless the log is refused in words that name the file. Opening
// reads the last segment alone.
func refused(t *testing.T, d *disk, path, want string) {
	t.Helper()
	_, err := disklog.Check(d.dir, d)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
		t.Fatalf("check: %v, want one with %q and %s", err, want, path)
	}
	if paths := d.segments(t); path < paths[len(paths)-1] {
		return
	}
	l, err := d.open()
	if err == nil {
		_ = l.Close()
		t.Fatal("it opened")
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t testing.TB, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
