//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema/bench/internal/stat"
	"github.com/semanode/sema/internal/load"
)

// latency measures cycles beside few holds and many, in turn.
func (b *bench) latency(ctx context.Context, fleets []*fleet) error {
	header := []string{"an acquire and a release"}
	for _, f := range fleets {
		header = append(header, "beside "+count(f.holds))
	}
	t := b.table("Latency beside holds", append(header, "ratio, last to first")...)
	for _, workers := range []int{1, 64} {
		p50, p99, rate := make([][]float64, len(fleets)), make([][]float64, len(fleets)), make([][]float64, len(fleets))
		for round := range b.rounds {
			for i := range fleets {
				i = (i + round) % len(fleets) // another one first in each round
				r, err := cycles(ctx, fleets[i], workers)
				if err != nil {
					return err
				}
				p50[i], p99[i], rate[i] = append(p50[i], r.P50Ms), append(p99[i], r.P99Ms), append(rate[i], r.CyclesPerSecond)
				b.say("%d workers beside %s holds: %.0f/s, p50 %.3g ms, p99 %.3g ms", workers, count(fleets[i].holds), r.CyclesPerSecond, r.P50Ms, r.P99Ms)
			}
		}
		for _, row := range []struct {
			what, unit string
			of         [][]float64
		}{{"p50", " ms", p50}, {"p99", " ms", p99}, {"cycles per second", "", rate}} {
			cells := []string{fmt.Sprintf("%d at a time: %s", workers, row.what)}
			for i := range fleets {
				cells = append(cells, stat.Of(row.of[i]).Text(row.unit))
			}
			t.add(append(cells, stat.Of(stat.Ratios(row.of[len(fleets)-1], row.of[0])).Text("×"))...)
		}
	}
	return nil
}

// cycles runs workers for a few seconds.
func cycles(ctx context.Context, f *fleet, workers int) (_ load.Result, err error) {
	access, err := f.Ways(load.Cycle)[0].Open(ctx, workers)
	if err != nil {
		return load.Result{}, err
	}
	defer func() { err = errors.Join(err, access.Close()) }()
	r, err := load.Run(ctx, load.Config{Mode: load.Cycle, Workers: workers, Duration: 3 * time.Second, Warmup: time.Second}, access.Dial)
	if err == nil && (r.Cycles == 0 || r.Errors > 0) {
		err = fmt.Errorf("%d cycles and %d errors: %v", r.Cycles, r.Errors, r.ErrorTexts)
	}
	return r, err
}
