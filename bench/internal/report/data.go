// Package report turns measurements into the document about them.
package report

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/semanode/sema/bench/internal/host"
	"github.com/semanode/sema/bench/internal/stat"
	"github.com/semanode/sema/internal/load"
)

// Ours is the column that all others are compared with.
const Ours = "Sema"

// Data is everything that was measured. As JSON it is kept beside the document, which
// can be made of it again.
type Data struct {
	Day      string     `json:"day"`
	Machine  host.Facts `json:"machine"`
	Before   host.Sync  `json:"syncBefore"`
	After    host.Sync  `json:"syncAfter"`
	Settings Settings   `json:"settings"`
	Peers    []About    `json:"peers"`
	Absent   []string   `json:"absent,omitempty"` // one line each
	Runs     []Run      `json:"runs"`
	Failures []string   `json:"failures,omitempty"` // of measurements; one line each
	Outages  []Outage   `json:"outages,omitempty"`
}

// Settings say how it was measured.
type Settings struct {
	Duration time.Duration `json:"duration"`
	Warmup   time.Duration `json:"warmup"`
	Rounds   int           `json:"rounds"`
	Workers  []int         `json:"workers"` // of cycles
	Waiters  int           `json:"waiters"` // workers of the other workloads
}

// About says what a peer is.
type About struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Settings string `json:"settings"`
}

// Run is one measurement.
type Run struct {
	Column string `json:"column"` // who did which work
	Setup  string `json:"setup"`  // of the client
	Round  int    `json:"round"`
	// Entries of the replicated log were written during so many units. Both are 0 if
	// that was not looked at.
	Entries      uint64 `json:"entries,omitempty"`
	EntriesUnits int64  `json:"entriesUnits,omitempty"`
	// Passed is the part of the grants of one lock that went to another worker than
	// the one before, 0 to 1.
	Passed float64 `json:"passed,omitempty"`
	load.Result
}

// Outage is how long a cluster was out of order each time its leader was taken away.
type Outage struct {
	Column  string    `json:"column"`
	Kind    string    `json:"kind"`
	Seconds []float64 `json:"seconds"`
}

// The kinds of Outage.
const (
	Kill = "kill"
	Stop = "stop"
)

// Decode reads what JSON wrote.
func Decode(text []byte) (Data, error) {
	var d Data
	if err := json.Unmarshal(text, &d); err != nil {
		return Data{}, fmt.Errorf("read the measurements: %w", err)
	}
	return d, nil
}

// JSON writes the data.
func (d Data) JSON() ([]byte, error) {
	text, err := json.MarshalIndent(d, "", "\t")
	return append(text, '\n'), err
}

// cell is what one column did with a workload: the runs of its best setup, in the
// order of rounds.
type cell struct {
	setup string
	runs  []Run
}

func (c cell) numbers(of func(Run) float64) []float64 {
	numbers := make([]float64, len(c.runs))
	for i, r := range c.runs {
		numbers[i] = of(r)
	}
	return numbers
}

func perSecond(r Run) float64 { return r.CyclesPerSecond }
func p50(r Run) float64       { return r.P50Ms }
func p99(r Run) float64       { return r.P99Ms }
func longest(r Run) float64   { return r.MaxMs }
func passed(r Run) float64    { return 100 * r.Passed }

func (c cell) sum(of func(Run) float64) stat.Summary { return stat.Of(c.numbers(of)) }

// columns lists who did a workload, in the order of the runs.
func (d Data) columns(mode load.Mode) (names []string) {
	for _, r := range d.Runs {
		if r.Mode == mode && !slices.Contains(names, r.Column) {
			names = append(names, r.Column)
		}
	}
	return names
}

// setups returns a cell for every setup of a column.
func (d Data) setups(mode load.Mode, workers int, column string) (all []cell) {
	for _, r := range d.Runs {
		if r.Mode != mode || r.Workers != workers || r.Column != column {
			continue
		}
		i := slices.IndexFunc(all, func(c cell) bool { return c.setup == r.Setup })
		if i < 0 {
			i = len(all)
			all = append(all, cell{setup: r.Setup})
		}
		all[i].runs = append(all[i].runs, r)
	}
	for _, c := range all {
		slices.SortStableFunc(c.runs, func(a, b Run) int { return a.Round - b.Round })
	}
	return all
}

// best returns the cell of the setup with the highest median rate.
func (d Data) best(mode load.Mode, workers int, column string) (best cell) {
	for _, c := range d.setups(mode, workers, column) {
		if best.runs == nil || c.sum(perSecond).Median > best.sum(perSecond).Median {
			best = c
		}
	}
	return best
}

// ratio is how many times as much Sema did as a column, round by round.
func (d Data) ratio(mode load.Mode, workers int, column string) stat.Summary {
	ours := d.best(mode, workers, Ours)
	theirs := d.best(mode, workers, column)
	return stat.Of(stat.Ratios(byRound(ours, theirs)))
}

// byRound pairs the rates of the rounds that both have.
func byRound(a, b cell) (above, below []float64) {
	for _, x := range a.runs {
		for _, y := range b.runs {
			if x.Round == y.Round {
				above, below = append(above, x.CyclesPerSecond), append(below, y.CyclesPerSecond)
			}
		}
	}
	return above, below
}

// outage finds one.
func (d Data) outage(column, kind string) (Outage, bool) {
	i := slices.IndexFunc(d.Outages, func(o Outage) bool { return o.Column == column && o.Kind == kind })
	if i < 0 {
		return Outage{}, false
	}
	return d.Outages[i], true
}
