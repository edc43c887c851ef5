package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/semanode/sema/internal/load"
)

// benchJSON is a measurement as JSON. Its first fields are those of other lock
// services' benchmarks, for scripts that compare.
type benchJSON struct {
	load.Result
	Clients int `json:"clients"`
}

// bench prints a measurement.
func (p printer) bench(r benchJSON) error {
	if p.json {
		return p.encode(r)
	}
	t := p.table()
	t.row("mode:", string(r.Mode))
	t.row("workers:", fmt.Sprintf("%d, of %s", r.Workers, counted(r.Clients, "client")))
	if r.Rate > 0 {
		t.row("rate:", number(r.Rate)+" due per second")
	}
	t.row("cycles:", fmt.Sprintf("%d in %ss", r.Cycles, number(r.Seconds)))
	t.row("cycles/s:", fmt.Sprintf("%.1f", r.CyclesPerSecond))
	if r.Samples > 0 {
		t.row("p50:", number(r.P50Ms)+" ms")
		t.row("p99:", number(r.P99Ms)+" ms")
		t.row("max:", number(r.MaxMs)+" ms")
	}
	t.row("errors:", strconv.FormatInt(r.Errors, 10))
	for _, text := range r.ErrorTexts {
		t.row("  such as:", oneLine(errors.New(text)))
	}
	unfinished := strconv.FormatInt(r.Unfinished, 10)
	if r.Unfinished > 0 {
		unfinished += fmt.Sprintf(", the oldest for %s ms; they are in no latency", number(r.UnfinishedOldestMs))
	}
	t.row("unfinished:", unfinished)
	return t.Flush()
}

// number has as many places as it needs, and no exponent.
func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// progressLine tells people how it goes.
func (b *bench) progressLine(p load.Progress) string {
	line := fmt.Sprintf("%5.1fs  %.0f cycles/s, %s", p.Elapsed.Seconds(), p.PerSecond, counted(int(p.Errors), "error"))
	if p.Backlog > int64(b.config.Workers) {
		line += fmt.Sprintf(", %d late", p.Backlog)
	}
	if p.Warmup {
		line += " (warm-up)"
	}
	return line
}
