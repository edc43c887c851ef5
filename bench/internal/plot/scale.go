package plot

import (
	"math"
	"slices"
	"strconv"

	"github.com/semanode/sema/bench/internal/stat"
)

// scale places values between two edges of the drawing, logarithmically.
type scale struct {
	low, high float64 // logarithms of the ends
	from, to  float64 // where they are
}

// newScale covers the values. If it is round, it ends a little beyond them.
func newScale(values []float64, from, to float64, round bool) scale {
	if len(values) == 0 {
		values = []float64{1, 10}
	}
	s := scale{low: math.Log10(slices.Min(values)), high: math.Log10(slices.Max(values)), from: from, to: to}
	if round {
		room := max(0.06*(s.high-s.low), 0.04)
		s.low, s.high = s.low-room, s.high+room
	}
	if s.high-s.low < 1e-9 { // one value: in the middle
		s.low, s.high = s.low-0.5, s.high+0.5
	}
	return s
}

func (s scale) at(value float64) float64 {
	return s.from + (math.Log10(value)-s.low)/(s.high-s.low)*(s.to-s.from)
}

// tick is a line across the drawing.
type tick struct {
	value float64
	major bool
	label string
}

// ticks are at 1, 2, 5 and so on of every power of ten; in a scale that is long, only
// the powers have labels.
func (s scale) ticks() (ticks []tick) {
	long := s.high-s.low > 3
	for power := math.Floor(s.low); power <= s.high; power++ {
		for _, digit := range []float64{1, 2, 5} {
			value := digit * math.Pow(10, power)
			if exponent := math.Log10(value); exponent < s.low || exponent > s.high {
				continue
			}
			t := tick{value: value, major: digit == 1}
			if digit == 1 || !long {
				t.label = label(value)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

func label(value float64) string {
	if value >= 1000 {
		return stat.Figure(value)
	}
	return strconv.FormatFloat(value, 'g', 6, 64)
}
