// Package plot draws lines over two logarithmic axes as SVG that can be read on
// white and on dark paper: the paper is left as it is, and no colour is close to
// either.
package plot

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// Chart is what is drawn. Values that are not above zero have no place in it.
type Chart struct {
	Title, X, Y string // what the axes are
	Series      []Series
}

// Series is one line.
type Series struct {
	Name   string
	Points []Point
}

// Point is a measurement: its middle and how far it went.
type Point struct {
	X, Y, Low, High float64
}

// The measures of a drawing, in its own units.
const (
	width, height            = 860, 470
	left, right, top, bottom = 84, 180, 56, 58 // margins; on the right are the names
	nameHeight               = 20              // between two of them
)

// Colours of what is not data, and of the series in turn.
const paperGrey = "#7d8590"

var palette = []string{"#2f81f7", "#db6d28", "#2da44e", "#a371f7", "#e5534b", "#1b9aaa", "#b08800", "#c2539a"}

// SVG draws the chart.
func (c Chart) SVG() []byte {
	c = c.placeable()
	d := drawing{xs: newScale(c.all(func(p Point) []float64 { return []float64{p.X} }), left, width-right, false),
		ys: newScale(c.all(func(p Point) []float64 { return []float64{p.Y, p.Low, p.High} }), height-bottom, top, true)}
	d.f(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13">`+"\n", width, height, width, height)
	d.f("<title>%s</title>\n", escape(c.Title))
	d.text(left, 26, `font-size="17" font-weight="600"`, c.Title)
	d.axes(c)
	for i, s := range c.Series {
		d.series(s, i)
	}
	d.names(c.Series)
	d.f("</svg>\n")
	return d.Bytes()
}

// placeable leaves out what has no place on a logarithmic axis.
func (c Chart) placeable() Chart {
	c.Series = slices.Clone(c.Series)
	for i, s := range c.Series {
		c.Series[i].Points = slices.DeleteFunc(slices.Clone(s.Points), func(p Point) bool { return !positive(p.X) || !positive(p.Y) })
	}
	return c
}

func positive(v float64) bool { return v > 0 && !math.IsInf(v, 0) }

// all collects the values of an axis.
func (c Chart) all(of func(Point) []float64) (values []float64) {
	for _, s := range c.Series {
		for _, p := range s.Points {
			for _, v := range of(p) {
				if positive(v) { // a point may have no extremes
					values = append(values, v)
				}
			}
		}
	}
	return values
}

// drawing is an SVG in the making.
type drawing struct {
	bytes.Buffer
	xs, ys scale
}

func (d *drawing) f(format string, args ...any) { fmt.Fprintf(d, format, args...) }

func (d *drawing) text(x, y float64, attributes, text string) {
	d.f(`<text x="%.1f" y="%.1f" fill="%s" %s>%s</text>`+"\n", x, y, paperGrey, attributes, escape(text))
}

func (d *drawing) line(x1, y1, x2, y2 float64, attributes string) {
	d.f(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, attributes)
}

func (d *drawing) axes(c Chart) {
	for _, tick := range d.ys.ticks() {
		y := d.ys.at(tick.value)
		opacity := "0.16"
		if tick.major {
			opacity = "0.42"
		}
		d.line(left, y, width-right, y, `stroke="`+paperGrey+`" stroke-opacity="`+opacity+`"`)
		if tick.label != "" {
			d.text(left-10, y+4.5, `text-anchor="end"`, tick.label)
		}
	}
	for _, x := range c.xValues() {
		at := d.xs.at(x)
		d.line(at, height-bottom, at, height-bottom+5, `stroke="`+paperGrey+`"`)
		d.text(at, height-bottom+21, `text-anchor="middle"`, label(x))
	}
	d.line(left, height-bottom, width-right, height-bottom, `stroke="`+paperGrey+`"`)
	d.text((left+width-right)/2, height-12, `text-anchor="middle"`, c.X)
	middle := (top + height - bottom) / 2
	d.text(22, float64(middle), fmt.Sprintf(`text-anchor="middle" transform="rotate(-90 22 %d)"`, middle), c.Y)
}

// xValues are the ticks of the x axis: where something was measured.
func (c Chart) xValues() []float64 {
	values := c.all(func(p Point) []float64 { return []float64{p.X} })
	slices.Sort(values)
	return slices.Compact(values)
}

func (d *drawing) series(s Series, i int) {
	colour := palette[i%len(palette)]
	stroke := 2.0
	if i == 0 { // the one that the others are compared with
		stroke = 3.5
	}
	var path bytes.Buffer
	for _, p := range s.Points {
		x, y := d.xs.at(p.X), d.ys.at(p.Y)
		command := "L"
		if path.Len() == 0 {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", command, x, y)
		if positive(p.Low) && p.High > p.Low {
			d.line(x, d.ys.at(p.Low), x, d.ys.at(p.High), fmt.Sprintf(`stroke="%s" stroke-width="%.1f" stroke-opacity="0.45" stroke-linecap="round"`, colour, stroke+3))
		}
		d.mark(x, y, i)
	}
	d.f(`<path d="%s" fill="none" stroke="%s" stroke-width="%.1f" stroke-linejoin="round"/>`+"\n", path.String(), colour, stroke)
}
