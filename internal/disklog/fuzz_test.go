package disklog_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/disklog"
)

// FuzzSegment: whatever a segment begins with, reading it does not panic; and what Check
// lets pass opens, and reads the same.
func FuzzSegment(f *testing.F) {
	d := newDisk(f)
	l := d.mustOpen(f)
	store(f, l, batch(0, 1, 3, 100))
	store(f, l, batch(3, 1, 2, 600))
	name := filepath.Base(d.tail(f))
	whole := read(f, d.tail(f))
	written := bytes.TrimRight(whole, "\x00")
	f.Add(written)
	f.Add(written[:len(written)-300])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > len(whole) {
			return
		}
		to := newDisk(t)
		to.keys = d.image(t).keys
		if err := os.Mkdir(to.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(to.dir, name), append(bytes.Clone(data), make([]byte, len(whole)-len(data))...))
		reading, err := disklog.Check(to.dir, to)
		if err != nil {
			return
		}
		want, _ := reading.LastIndex() // it does not fail
		l := to.mustOpen(t)
		if got, err := l.LastIndex(); err != nil || got != want {
			t.Fatalf("it ends with entry %d, %v; when it was checked with entry %d", got, err, want)
		}
		for i := uint64(1); i <= want; i++ {
			var a, b raft.Log
			if x, y := reading.GetLog(i, &a), l.GetLog(i, &b); (x == nil) != (y == nil) || !bytes.Equal(a.Data, b.Data) {
				t.Fatalf("entry %d: %v and %v", i, x, y)
			}
		}
	})
}
