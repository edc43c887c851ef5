package stat_test

import (
	"slices"
	"testing"

	"github.com/semanode/sema/bench/internal/stat"
)

func TestOf(t *testing.T) {
	tests := []struct {
		numbers []float64
		want    stat.Summary
	}{
		{nil, stat.Summary{}},
		{[]float64{3}, stat.Summary{N: 1, Median: 3, Min: 3, Max: 3}},
		{[]float64{9, 1, 5}, stat.Summary{N: 3, Median: 5, Min: 1, Max: 9}},
		{[]float64{4, 1, 2, 100}, stat.Summary{N: 4, Median: 3, Min: 1, Max: 100}},
	}
	for _, tt := range tests {
		before := slices.Clone(tt.numbers)
		if got := stat.Of(tt.numbers); got != tt.want {
			t.Errorf("Of(%v) = %+v, want %+v", tt.numbers, got, tt.want)
		}
		if !slices.Equal(before, tt.numbers) {
			t.Errorf("Of changed its argument to %v", tt.numbers)
		}
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	got := stat.Ratios([]float64{10, 40, 5, 7}, []float64{5, 10, 0})
	if want := []float64{2, 4}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFigure(t *testing.T) {
	tests := map[float64]string{
		0: "0", 0.01234: "0.0123", 0.1: "0.100", 0.9996: "1.00", 1: "1.00", 1.234: "1.23", 9.996: "10.0", 12.34: "12.3", 99.96: "100", 100: "100",
		123.4: "123", 999.4: "999", 999.6: "1,000", 1000: "1,000", 1234567.8: "1,234,568", -1234: "-1,234", -1.5: "-1.50", 0.0000012: "0.000001",
	}
	for f, want := range tests {
		if got := stat.Figure(f); got != want {
			t.Errorf("Figure(%v) = %q, want %q", f, got, want)
		}
	}
}

func TestText(t *testing.T) {
	tests := []struct {
		numbers []float64
		want    string
	}{
		{nil, "–"},
		{[]float64{2.5}, "2.50x"},
		{[]float64{2, 2, 2}, "2.00x"},
		{[]float64{1, 2, 30}, "2.00x (1.00 to 30.0)"},
	}
	for _, tt := range tests {
		if got := stat.Of(tt.numbers).Text("x"); got != tt.want {
			t.Errorf("%v is %q, want %q", tt.numbers, got, tt.want)
		}
	}
}
