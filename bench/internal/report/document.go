package report

import (
	"bytes"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/semanode/sema/bench/internal/plot"
	"github.com/semanode/sema/bench/internal/stat"
	"github.com/semanode/sema/internal/load"
)

// Document fills the figures into the text written by hand. It can call all
// methods of Data, and knows as Base what the names of the drawings begin with.
func (d Data) Document(text, base string) ([]byte, error) {
	t, err := template.New("document").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, struct {
		Data
		Base string
	}{d, base}); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// What lists the peers, their versions and settings.
func (d Data) What() string {
	t := table{{"", "version", "settings"}}
	for _, p := range d.Peers {
		t = append(t, []string{p.Name, p.Version, p.Settings})
	}
	return t.String()
}

// Where describes the machine.
func (d Data) Where() string {
	memory := "unknown"
	if d.Machine.MemoryGB > 0 {
		memory = fmt.Sprintf("%d GB", d.Machine.MemoryGB)
	}
	sync := func(p50, p99 time.Duration) string {
		return stat.Figure(p50.Seconds()*1000) + " / " + stat.Figure(p99.Seconds()*1000) + " ms"
	}
	return table{
		{"", ""},
		{"processor", d.Machine.CPU},
		{"cores", fmt.Sprint(d.Machine.Cores)},
		{"memory", memory},
		{"kernel", d.Machine.Kernel},
		{"file system of the data", d.Machine.FileSystem},
		{"writing 4 kB and fdatasync, p50 / p99, before", sync(d.Before.P50, d.Before.P99)},
		{"the same, after", sync(d.After.P50, d.After.P99)},
		{"Go", d.Machine.Go},
		{"day", d.Day},
	}.String()
}

// Warnings are what spoils the figures, as a list; nothing if all is well.
func (d Data) Warnings() string {
	var lines []string
	if d.Machine.Volatile() {
		lines = append(lines, "The data was in memory ("+d.Machine.FileSystem+"): no write had to last, and the figures mean nothing.")
	}
	for _, a := range d.Absent {
		lines = append(lines, "Left out: "+a+".")
	}
	for _, f := range d.Failures {
		lines = append(lines, "Failed: "+f)
	}
	for _, r := range d.Runs {
		if r.Errors > 0 {
			lines = append(lines, fmt.Sprintf("%s, %d workers, %s (%s), round %d: %d of %d failed: %s",
				r.Mode, r.Workers, r.Column, r.Setup, r.Round, r.Errors, r.Cycles+r.Errors, strings.Join(r.ErrorTexts, "; ")))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	for i := range lines {
		lines[i] = "- " + strings.ReplaceAll(lines[i], "\n", " ") + "\n"
	}
	return strings.Join(lines, "")
}

// Charts are the drawings that go with the document.
func (d Data) Charts() map[string]plot.Chart {
	charts := map[string]plot.Chart{
		"cycles": {Title: "Cycles per second", X: "workers", Y: "acquire and release, per second"},
		"p50":    {Title: "Median time of a cycle", X: "workers", Y: "milliseconds"},
	}
	values := map[string]func(Run) float64{"cycles": perSecond, "p50": p50}
	for name, chart := range charts {
		for _, column := range d.columns(load.Cycle) {
			s := plot.Series{Name: column}
			for _, workers := range d.Settings.Workers {
				if c := d.best(load.Cycle, workers, column); len(c.runs) > 0 {
					sum := c.sum(values[name])
					s.Points = append(s.Points, plot.Point{X: float64(workers), Y: sum.Median, Low: sum.Min, High: sum.Max})
				}
			}
			chart.Series = append(chart.Series, s)
		}
		charts[name] = chart
	}
	return charts
}
