package plot_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/semanode/sema/bench/internal/plot"
)

var keep = flag.String("keep", "", "file to write the drawing to, to look at it")

func chart() plot.Chart {
	line := func(name string, ys ...float64) plot.Series {
		s := plot.Series{Name: name}
		for i, x := range []float64{1, 64, 256, 1024} {
			if i < len(ys) {
				s.Points = append(s.Points, plot.Point{X: x, Y: ys[i], Low: ys[i] * 0.85, High: ys[i] * 1.2})
			}
		}
		return s
	}
	return plot.Chart{Title: "Cycles <per> second", X: "workers", Y: "acquire & release, per second", Series: []plot.Series{
		line("Sema", 650, 18458, 53966, 117612), line("etcd, txn", 441, 3005, 5210, 6670), line("etcd, Mutex", 429, 2807, 4419, 6500),
		line("Redis", 1582, 33653, 47935, 52000), line("PostgreSQL", 2013, 10228, 8170, 6600),
	}}
}

// text returns all text of a drawing, which must be well-formed.
func text(t *testing.T, svg []byte) string {
	t.Helper()
	var all strings.Builder
	for dec := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return all.String()
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if chars, ok := token.(xml.CharData); ok {
			all.Write(chars)
		}
	}
}

func TestChartSaysWhatItShows(t *testing.T) {
	svg := chart().SVG()
	if *keep != "" {
		if err := os.WriteFile(*keep, svg, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shown := text(t, svg)
	for _, want := range []string{"Cycles <per> second", "workers", "acquire & release, per second", "Sema", "etcd, Mutex", "PostgreSQL", "1,024", "256", "10,000"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not in the drawing", want)
		}
	}
}

// Names stand apart and inside of the drawing, however close the lines end.
func TestNamesDoNotOverlap(t *testing.T) {
	c := plot.Chart{}
	for _, name := range []string{"name a", "name b", "name c", "name d", "name e", "name f"} {
		c.Series = append(c.Series, plot.Series{Name: name, Points: []plot.Point{{X: 1, Y: 1000}, {X: 64, Y: 5}}})
	}
	var ys []float64
	for _, match := range regexp.MustCompile(`<text x="[\d.]+" y="([\d.]+)"[^>]*>name`).FindAllSubmatch(c.SVG(), -1) {
		y, err := strconv.ParseFloat(string(match[1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		ys = append(ys, y)
	}
	if len(ys) != len(c.Series) {
		t.Fatalf("%d of %d names found", len(ys), len(c.Series))
	}
	for i, y := range ys {
		if y < 0 || y > 470 || i > 0 && y-ys[i-1] < 15 {
			t.Errorf("name %d is at %v, the others at %v", i, y, ys)
		}
	}
}

func TestWhatHasNoPlaceIsLeftOut(t *testing.T) {
	tests := map[string]plot.Chart{
		"nothing":           {},
		"a line of nothing": {Series: []plot.Series{{Name: "a"}}},
		"one point":         {Series: []plot.Series{{Name: "a", Points: []plot.Point{{X: 64, Y: 10, Low: 10, High: 10}}}}},
		"zeros":             {Series: []plot.Series{{Name: "a", Points: []plot.Point{{X: 1, Y: 0}, {X: 64, Y: 10}, {X: 256, Y: math.Inf(1)}}}}},
	}
	for name, c := range tests {
		svg := c.SVG()
		text(t, svg)
		if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
			t.Errorf("%s: a place that is no number in\n%s", name, svg)
		}
	}
}
