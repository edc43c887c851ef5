package plot

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"slices"
)

// name is that of a series, where its line ends.
type name struct {
	series int
	text   string
	end, y float64 // of the line and of the name
}

// names writes the names of series on the right, each as close to the end of its line
// as the others leave room for.
func (d *drawing) names(all []Series) {
	for _, n := range placeNames(d, all) {
		const x = width - right
		d.line(x+6, n.end, x+22, n.y, `stroke="`+palette[n.series%len(palette)]+`" stroke-opacity="0.5"`)
		d.mark(x+30, n.y, n.series)
		weight := ""
		if n.series == 0 {
			weight = `font-weight="600"`
		}
		d.text(x+42, n.y+4.5, weight, n.text)
	}
}

func placeNames(d *drawing, all []Series) []name {
	var names []name
	for i, s := range all {
		if len(s.Points) == 0 {
			continue
		}
		end := d.ys.at(s.Points[len(s.Points)-1].Y)
		names = append(names, name{series: i, text: s.Name, end: end, y: end})
	}
	slices.SortStableFunc(names, func(a, b name) int { return cmp.Compare(a.end, b.end) })
	for i := range names { // down where there is no room
		if i > 0 {
			names[i].y = max(names[i].y, names[i-1].y+nameHeight)
		}
	}
	lowest := float64(height - bottom)
	for i := len(names) - 1; i >= 0; i-- { // and up again from the bottom
		names[i].y = min(names[i].y, lowest)
		lowest = names[i].y - nameHeight
	}
	return names
}

// mark draws the sign of a series: colours alone do not tell everybody.
func (d *drawing) mark(x, y float64, series int) {
	colour := palette[series%len(palette)]
	switch series % 5 {
	case 0:
		d.f(`<circle cx="%.1f" cy="%.1f" r="5.5" fill="%s"/>`+"\n", x, y, colour)
	case 1:
		d.f(`<rect x="%.1f" y="%.1f" width="9" height="9" fill="%s"/>`+"\n", x-4.5, y-4.5, colour)
	case 2:
		d.f(`<path d="M%.1f %.1fl5.5 10h-11z" fill="%s"/>`+"\n", x, y-6, colour)
	case 3:
		d.f(`<path d="M%.1f %.1fl6 6l-6 6l-6 -6z" fill="%s"/>`+"\n", x, y-6, colour)
	case 4:
		d.f(`<path d="M%.1f %.1fl5.5 -10h-11z" fill="%s"/>`+"\n", x, y+6, colour)
	}
}

func escape(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a Buffer takes everything
	return b.String()
}
