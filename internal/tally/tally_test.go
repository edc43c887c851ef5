package tally_test

import (
	"maps"
	"math"
	"testing"
	"time"

	"github.com/semanode/sema/internal/tally"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	h := tally.Durations(time.Millisecond, time.Second)
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, time.Second, time.Minute} {
		h.Observe(int64(d))
	}
	got := h.Read()
	if want := map[int64]uint64{int64(time.Millisecond): 2, int64(time.Second): 4}; !maps.Equal(got.Upto, want) {
		t.Errorf("up to the bounds: %v, want %v", got.Upto, want)
	}
	if want := float64(61*time.Second + 2*time.Millisecond); got.Count != 5 || got.Sum != want { // to the microsecond
		t.Errorf("%d values with the sum %v, want 5 with %v", got.Count, got.Sum, want)
	}
	numbers := tally.New(1)
	numbers.Observe(7)
	if got := numbers.Read().Sum; got != 7 {
		t.Errorf("the sum of 7 is %v", got)
	}
}

// The sum goes on where nanoseconds would not fit 64 bits: ten thousand locks held for
// eleven days. When it is full it begins at zero, as counters do, and is never negative.
func TestSumOfLongDurations(t *testing.T) {
	t.Parallel()
	h := tally.Durations(time.Second)
	const day, holds = 24 * time.Hour, 110_000
	for range holds {
		h.Observe(int64(day))
	}
	if got := time.Duration(h.Read().Sum / holds); got != day {
		t.Errorf("%d days came to %v each", holds, got)
	}
	full := tally.New(1)
	for range 2 {
		full.Observe(math.MaxInt64)
		full.Observe(2)
	}
	if got := full.Read().Sum; got != 2 {
		t.Errorf("a sum that was full goes on at %v", got)
	}
}

func TestHistogramOfNothing(t *testing.T) {
	t.Parallel()
	var h *tally.Histogram
	h.Observe(1)
	if got := h.Read(); got.Count != 0 {
		t.Errorf("a nil histogram has counted %d values", got.Count)
	}
}

// It is not parallel: what it measures counts for the whole process.
func TestObserveAllocatesNothing(t *testing.T) {
	h := tally.New(1, 2, 3)
	if n := testing.AllocsPerRun(100, func() { h.Observe(2) }); n != 0 {
		t.Errorf("%v allocations for a value", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := tally.Durations(time.Millisecond, 10*time.Millisecond, 100*time.Millisecond, time.Second)
	for b.Loop() {
		h.Observe(int64(5 * time.Millisecond))
	}
}
