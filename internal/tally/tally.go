// Package tally counts on paths where a command costs microseconds: what it counts is
// read, and given names and labels, when somebody asks. It has a histogram of its own
// because packages that clients import should not make them depend on a library for
// metrics, and because this one costs two additions.
package tally

import (
	"math"
	"sync/atomic"
	"time"
)

// Histogram counts values in buckets whose bounds are fixed. A nil one counts nothing.
// Any goroutine may call any method.
type Histogram struct {
	bounds   []int64         // ascending; a value that equals one is below it
	counts   []atomic.Uint64 // one more than bounds, for what is above them all
	duration bool            // sum is in microseconds: see Snapshot
	sum      atomic.Int64
}

// New returns a histogram with these bounds, which must ascend.
func New(bounds ...int64) *Histogram {
	return &Histogram{bounds: bounds, counts: make([]atomic.Uint64, len(bounds)+1)}
}

// Durations returns a histogram of durations, in nanoseconds.
func Durations(bounds ...time.Duration) *Histogram {
	in := make([]int64, len(bounds))
	for i, b := range bounds {
		in[i] = int64(b)
	}
	h := New(in...)
	h.duration = true
	return h
}

// Observe counts a value. It does not allocate.
func (h *Histogram) Observe(v int64) {
	if h == nil {
		return
	}
	i := 0
	for i < len(h.bounds) && v > h.bounds[i] {
		i++
	}
	if h.duration {
		h.sum.Add((v + int64(time.Microsecond/2)) / int64(time.Microsecond))
	} else {
		h.sum.Add(v)
	}
	h.counts[i].Add(1)
}

// Snapshot is what a histogram has counted.
type Snapshot struct {
	Count uint64
	// Sum is that of the values. Of durations, each is rounded to a microsecond for it:
	// in nanoseconds ten thousand locks would fill 64 bits within eleven days. It begins
	// anew at zero, as after a restart, when 292,000 years are added up: a million locks
	// that are always held take 106 days for that.
	Sum float64
	// Upto has, for each bound, how many values were not above it.
	Upto map[int64]uint64
}

// Read returns what was counted. What comes meanwhile may be in the sum, and not in the
// count yet.
func (h *Histogram) Read() Snapshot {
	if h == nil {
		return Snapshot{}
	}
	s := Snapshot{Upto: make(map[int64]uint64, len(h.bounds))}
	for i, bound := range h.bounds {
		s.Count += h.counts[i].Load()
		s.Upto[bound] = s.Count
	}
	s.Count += h.counts[len(h.bounds)].Load()
	s.Sum = float64(h.sum.Load() & math.MaxInt64)
	if h.duration {
		s.Sum *= float64(time.Microsecond)
	}
	return s
}
