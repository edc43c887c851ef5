// Package stat sums up a few measurements of the same thing.
package stat

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Summary is the middle and the extremes of some numbers.
type Summary struct {
	N                int
	Median, Min, Max float64
}

// Of sums up numbers. Of none, all fields are zero.
func Of(numbers []float64) Summary {
	if len(numbers) == 0 {
		return Summary{}
	}
	sorted := slices.Clone(numbers)
	slices.Sort(sorted)
	return Summary{N: len(sorted), Median: median(sorted), Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// median of sorted numbers: of an even count, the mean of the two in the middle.
func median(sorted []float64) float64 {
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Ratios divides numbers pair by pair. What was measured in the same round belongs
// together: whatever else the machine did then was the same for both. Pairs with a
// zero below are left out.
func Ratios(above, below []float64) []float64 {
	var ratios []float64
	for i := range min(len(above), len(below)) {
		if below[i] != 0 {
			ratios = append(ratios, above[i]/below[i])
		}
	}
	return ratios
}

// Figure writes a number to three digits, those of a thousand and more whole and
// with commas: 0.123, 1.23, 12.3, 123, 1,234.
func Figure(f float64) string {
	if math.Abs(f) >= 999.5 {
		return commas(strconv.FormatFloat(math.Round(f), 'f', 0, 64))
	}
	rounded := strconv.FormatFloat(f, 'e', 2, 64) // d.dde±dd
	exponent, err := strconv.Atoi(rounded[strings.IndexByte(rounded, 'e')+1:])
	if err != nil || f == 0 { // NaN, or nothing
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', min(2-exponent, 6), 64)
}

func commas(digits string) string {
	sign := ""
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		sign, digits = "-", rest
	}
	var groups []string
	for len(digits) > 3 {
		groups = append(groups, digits[len(digits)-3:])
		digits = digits[:len(digits)-3]
	}
	groups = append(groups, digits)
	slices.Reverse(groups)
	return sign + strings.Join(groups, ",")
}

// Text writes a summary as "median (min to max)", or the one number there is.
func (s Summary) Text(unit string) string {
	switch {
	case s.N == 0:
		return "–"
	case s.Min == s.Max:
		return Figure(s.Median) + unit
	}
	return fmt.Sprintf("%s%s (%s to %s)", Figure(s.Median), unit, Figure(s.Min), Figure(s.Max))
}
