//go:build linux

package crashdisk

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Sector is what a disk writes in whole or not at all.
const Sector = 512

// media is what the disk has.
type media struct {
	mu      sync.Mutex // guards what follows
	content []byte     // as it is read
	flushed []byte     // what is certain to stay
	pending []write    // since the last flush, in order
	written int        // how many writes there were
	lies    bool
}

type write struct {
	number int // in the order of writing
	at     int64
	data   []byte
}

func (m *media) write(at int64, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(m.content[at:], data)
	m.written++
	m.pending = append(m.pending, write{m.written, at, bytes.Clone(data)})
}

func (m *media) read(at int64, n int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	at = min(at, int64(len(m.content)))
	return bytes.Clone(m.content[at:min(at+int64(n), int64(len(m.content)))])
}

// flush makes what was written until it began certain, unless the disk lies. It takes
// its time, in which it is not certain yet.
func (m *media) flush() {
	m.mu.Lock()
	begun := m.written
	delay := rand.N(2 * flushTime)
	m.mu.Unlock()
	<-time.After(delay)
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.lies && len(m.pending) > 0 && m.pending[0].number <= begun {
		copy(m.flushed[m.pending[0].at:], m.pending[0].data)
		m.pending = m.pending[1:]
	}
}

// flushTime is what a flush takes, on average.
const flushTime = 300 * time.Microsecond

func (m *media) load(image []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.content, m.flushed, m.pending = bytes.Clone(image), bytes.Clone(image), nil
}

// Moment is what a disk has at one moment: what is certain, and what is not.
type Moment struct {
	flushed []byte
	pending []write
}

// Pending is how many writes are not certain to stay.
func (m *media) Pending() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.pending)
}

// Capture calls witness at a moment at which none of the disks does anything, and
// returns what they have at it.
func Capture(witness func(), disks ...*Disk) []Moment {
	for _, d := range disks {
		d.mu.Lock()
		defer d.mu.Unlock()
	}
	witness()
	var moments []Moment
	for _, d := range disks {
		moments = append(moments, Moment{bytes.Clone(d.flushed), slices.Clone(d.pending)})
	}
	return moments
}

// Image is what is left after a power cut at that moment: of the sectors that were
// written and not flushed some, at random. It tells how many there were and how many
// of them are lost.
func (m Moment) Image(r *rand.Rand) (image []byte, pending, lost int) {
	image = bytes.Clone(m.flushed)
	keep := []float64{0, 1, r.Float64()}[r.IntN(3)]
	for _, w := range m.pending {
		whole := r.IntN(2) == 0 // a disk may write what belongs together at once
		kept := r.Float64() < keep
		for from := 0; from < len(w.data); from += Sector {
			if pending++; whole && kept || !whole && r.Float64() < keep {
				copy(image[w.at+int64(from):], w.data[from:min(from+Sector, len(w.data))])
			} else {
				lost++
			}
		}
	}
	return image, pending, lost
}
