package disklog_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/disklog"
)

// TestDamage changes one byte, anywhere in what was written, and zeros a sector: a
// log that was closed is refused with the file's name, and never shorter without a
// word. One that was killed may lose its last append to zeros in it, as if that had
// been torn, and the one before if the sector has its end; and to nothing else.
func TestDamage(t *testing.T) {
	t.Parallel()
	const appendSize = 1700 // at most
	d := newDisk(t)
	l := d.mustOpen(t)
	var want []*raft.Log
	for i := range uint64(90) { // two segments and a bit
		want = append(want, entry(i+1, 1, 1600))
		store(t, l, want[i:])
	}
	settled(t, l)
	killed := d.image(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(d.segments(t)); n != 3 {
		t.Fatalf("%d segments", n)
	}
	r := chance(t)
	for i, path := range d.segments(t) {
		whole := read(t, path)
		written := len(bytes.TrimRight(whole, "\x00"))
		for range *runs {
			at := r.IntN(written)
			damaged := bytes.Clone(whole)
			damaged[at] ^= 1 << r.IntN(8)
			write(t, path, damaged)
			refused(t, d, path, "segment")
			write(t, killed.segments(t)[i], damaged)
			refused(t, killed, killed.segments(t)[i], "segment")

			from := at - at%sector
			damaged = bytes.Clone(whole)
			clear(damaged[from : from+sector])
			write(t, path, damaged)
			refused(t, d, path, "segment")
			write(t, killed.segments(t)[i], damaged)
			if reading, err := disklog.Check(killed.dir, killed); err == nil {
				last, _ := reading.LastIndex() // it does not fail
				holds(t, reading, want[:last])
				if lost := len(want) - int(last); lost > 2 || from+sector <= written-lost*appendSize {
					t.Fatalf("zeros at byte %d of %d cost %d appends", from, written, lost)
				}
			}
		}
		write(t, path, whole)
		write(t, killed.segments(t)[i], whole)
	}
	holds(t, check(t, d), want)
	holds(t, check(t, killed), want)
}

// TestMissing: what the table lists and is not there, and the table itself.
func TestMissing(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	l := d.mustOpen(t)
	for i := range uint64(90) {
		store(t, l, []*raft.Log{entry(i+1, 1, 1600)})
	}
	settled(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range d.segments(t) {
		t.Run(fmt.Sprintf("segment %d", i), func(t *testing.T) {
			d := d.image(t)
			path := d.segments(t)[i]
			remove(t, path)
			refused(t, d, path, "missing")
		})
		t.Run(fmt.Sprintf("segment %d is another", i), func(t *testing.T) {
			d := d.image(t)
			paths := d.segments(t)
			write(t, paths[i], read(t, paths[(i+1)%3]))
			refused(t, d, paths[i], "segment")
		})
	}
	t.Run("the table is damaged", func(t *testing.T) {
		d := d.image(t)
		for key, value := range d.keys {
			d.keys[key] = bytes.Replace(value, []byte(`"MinIndex":1,`), []byte(`"MinIndex":2,`), 1)
		}
		if _, err := disklog.Check(d.dir, d); err == nil || !strings.Contains(err.Error(), "table of segments") {
			t.Error(err)
		}
		if _, err := d.open(); err == nil {
			t.Error("it opened")
		}
	})
	t.Run("there is no table", func(t *testing.T) {
		d := d.image(t)
		clear(d.keys)
		if _, err := disklog.Check(d.dir, d); err == nil || !strings.Contains(err.Error(), "no table") {
			t.Error(err)
		}
	})
}
