package tally_test

import (
	"maps"
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
	if want := int64(61*time.Second + 2*time.Millisecond + 1); got.Count != 5 || got.Sum != want {
		t.Errorf("%d values with the sum %d, want 5 with %d", got.Count, got.Sum, want)
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
