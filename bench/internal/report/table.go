package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/semanode/sema/bench/internal/stat"
	"github.com/semanode/sema/internal/load"
)

// none stands where nothing was measured.
const none = "–"

// table is Markdown.
type table [][]string

func (t table) String() string {
	if len(t) < 2 {
		return "Not measured.\n"
	}
	var b strings.Builder
	for i, row := range t {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|" + strings.Repeat(" --- |", len(row)) + "\n")
		}
	}
	return b.String()
}

func (d Data) workerHeads(first string) []string {
	head := []string{first}
	for i, n := range d.Settings.Workers {
		text := stat.Figure(float64(n))
		if n < 1000 {
			text = strconv.Itoa(n)
		}
		if i == 0 {
			text += map[bool]string{true: " worker", false: " workers"}[n == 1]
		}
		head = append(head, text)
	}
	return head
}

// CycleRatios: Sema's cycles per second over those of each other.
func (d Data) CycleRatios() string {
	t := table{d.workerHeads("cycles/s: Sema against")}
	for _, column := range d.columns(load.Cycle) {
		if column == Ours {
			continue
		}
		row := []string{column}
		for _, workers := range d.Settings.Workers {
			row = append(row, d.ratio(load.Cycle, workers, column).Text("×"))
		}
		t = append(t, row)
	}
	return t.String()
}

// OtherRatios: the workloads that have one number of workers.
func (d Data) OtherRatios() string {
	t := table{{"Sema against", "grants/s of one lock", "refusals/s of a busy semaphore"}}
	var columns []string
	for _, mode := range []load.Mode{load.Handoff, load.Poll} {
		for _, column := range d.columns(mode) {
			if column != Ours && !slices.Contains(columns, column) {
				columns = append(columns, column)
			}
		}
	}
	for _, column := range columns {
		row := []string{column}
		for _, mode := range []load.Mode{load.Handoff, load.Poll} {
			row = append(row, d.ratio(mode, d.Settings.Waiters, column).Text("×"))
		}
		t = append(t, row)
	}
	return t.String()
}

// Cycles: cycles per second.
func (d Data) Cycles() string {
	return d.perWorkers("cycles/s", func(c cell) string { return c.sum(perSecond).Text("") })
}

// Latencies: how long a cycle takes.
func (d Data) Latencies() string {
	return d.perWorkers("p50 / p99 of a cycle, ms", latency)
}

func latency(c cell) string {
	return stat.Figure(c.sum(p50).Median) + " / " + stat.Figure(c.sum(p99).Median)
}

func (d Data) perWorkers(head string, show func(cell) string) string {
	t := table{d.workerHeads(head)}
	for _, column := range d.columns(load.Cycle) {
		row := []string{column}
		for _, workers := range d.Settings.Workers {
			row = append(row, orNone(d.best(load.Cycle, workers, column), show))
		}
		t = append(t, row)
	}
	return t.String()
}

func orNone(c cell, show func(cell) string) string {
	if len(c.runs) == 0 {
		return none
	}
	return show(c)
}

// Handoff: one lock that goes round.
func (d Data) Handoff() string {
	t := table{{"", "grants/s", "of them to another worker, %", "p50 / p99 / max of the wait, ms"}}
	for _, column := range d.columns(load.Handoff) {
		c := d.best(load.Handoff, d.Settings.Waiters, column)
		t = append(t, []string{column, c.sum(perSecond).Text(""), stat.Figure(c.sum(passed).Median), latency(c) + " / " + stat.Figure(c.sum(longest).Median)})
	}
	return t.String()
}

// lookalike is the column whose cycles go with a column of refusals that has none.
var lookalike = map[string]string{"etcd, read first": "etcd, txn"}

// Poll: refusals, and what they cost the log.
func (d Data) Poll() string {
	t := table{{"", "refusals/s", "p50 / p99, ms", "against its own cycles/s", "log entries per 1,000 refusals"}}
	for _, column := range d.columns(load.Poll) {
		c := d.best(load.Poll, d.Settings.Waiters, column)
		own := none
		if cycles := d.best(load.Cycle, d.Settings.Waiters, cmp.Or(lookalike[column], column)); len(cycles.runs) > 0 {
			own = stat.Of(stat.Ratios(byRound(c, cycles))).Text("×")
		}
		t = append(t, []string{column, c.sum(perSecond).Text(""), latency(c), own, entries(c)})
	}
	return t.String()
}

// entries per thousand units, with what was counted.
func entries(c cell) string {
	var written uint64
	var units int64
	for _, r := range c.runs {
		written, units = written+r.Entries, units+r.EntriesUnits
	}
	if units == 0 {
		return none
	}
	return fmt.Sprintf("%s (%s in %s)", stat.Figure(1000*float64(written)/float64(units)), stat.Figure(float64(written)), stat.Figure(float64(units)))
}

// Failover: how long nobody acquired anything.
func (d Data) Failover() string {
	t := table{{"", "leader killed to next acquire: p50 (min to max), s", "Sema's p50 over it", "leader told to stop, longest time without an acquire: p50 (min to max), s", "Sema's p50 over it"}}
	var columns []string
	for _, o := range d.Outages {
		if !slices.Contains(columns, o.Column) {
			columns = append(columns, o.Column)
		}
	}
	for _, column := range columns {
		row := []string{column}
		for _, kind := range []string{Kill, Stop} {
			theirs, ok := d.outage(column, kind)
			s := stat.Of(theirs.Seconds)
			ratio := none
			if ours, found := d.outage(Ours, kind); ok && found && column != Ours && s.Median > 0 {
				ratio = stat.Figure(stat.Of(ours.Seconds).Median/s.Median) + "×"
			}
			row = append(row, s.Text(""), ratio)
		}
		t = append(t, row)
	}
	return t.String()
}

// Setups: all that was tried. The best of a column is what the other tables show.
func (d Data) Setups() string {
	head := append(d.workerHeads("per second"), fmt.Sprintf("handoff, %d", d.Settings.Waiters), fmt.Sprintf("poll, %d", d.Settings.Waiters))
	t := table{head}
	type place struct {
		mode    load.Mode
		workers int
	}
	var places []place
	for _, n := range d.Settings.Workers {
		places = append(places, place{load.Cycle, n})
	}
	places = append(places, place{load.Handoff, d.Settings.Waiters}, place{load.Poll, d.Settings.Waiters})
	for _, name := range d.names() {
		row := []string{name[0] + ": " + name[1]}
		for _, p := range places {
			text := none
			for _, c := range d.setups(p.mode, p.workers, name[0]) {
				if c.setup == name[1] {
					text = stat.Figure(c.sum(perSecond).Median)
				}
			}
			row = append(row, text)
		}
		t = append(t, row)
	}
	return t.String()
}

// names lists columns with their setups.
func (d Data) names() (all [][2]string) {
	for _, r := range d.Runs {
		if name := [2]string{r.Column, r.Setup}; !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}
