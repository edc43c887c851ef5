package load

import (
	"math"
	"time"
)

// Result is what a run measured. As JSON its fields are stable: some may be added,
// none are renamed.
type Result struct {
	// CyclesPerSecond is Cycles over Seconds.
	CyclesPerSecond float64 `json:"cyclesPerSecond"`
	// P50Ms and P99Ms are quantiles of the latency, to three digits, MaxMs is the
	// longest, in milliseconds. All are 0 without Samples.
	P50Ms float64 `json:"p50Ms"`
	P99Ms float64 `json:"p99Ms"`
	MaxMs float64 `json:"maxMs"`
	// Errors is how many units failed. They are in no other number.
	Errors  int64 `json:"errors"`
	Workers int   `json:"workers"`
	Mode    Mode  `json:"mode"`
	// Rate is the one that was asked for, 0 if there was none.
	Rate float64 `json:"rate"`
	// Seconds is how long was measured: less than asked for if the run was ended
	// early.
	Seconds float64 `json:"seconds"`
	// Cycles is how many units finished within that time.
	Cycles int64 `json:"cycles"`
	// Samples is how many units have their latency counted.
	Samples int64 `json:"samples"`
	// Unfinished is how many units were due, or waited in line, and had not ended
	// when the run did, and UnfinishedOldestMs for how long the oldest had been. They
	// are in no latency: whoever has many of them asked for more than there was.
	Unfinished         int64   `json:"unfinished"`
	UnfinishedOldestMs float64 `json:"unfinishedOldestMs"`
	// ErrorTexts are the first few different errors.
	ErrorTexts []string `json:"errorTexts"`
}

func (r *run) result() Result {
	all := newRecorder()
	for _, rec := range r.recorders {
		all.merge(rec)
	}
	if r.pacer != nil {
		all.unfinished += r.pacer.backlog
		all.oldest = max(all.oldest, r.pacer.oldest)
	}
	window := max(0, r.end()-r.from)
	out := Result{
		P50Ms: ms(all.quantile(50)), P99Ms: ms(all.quantile(99)), MaxMs: ms(all.max),
		Errors: all.errors, Workers: r.cfg.Workers, Mode: r.cfg.Mode, Rate: r.cfg.Rate,
		Seconds: round(window.Seconds()), Cycles: all.cycles, Samples: all.latencies.TotalCount(),
		Unfinished: all.unfinished, UnfinishedOldestMs: ms(all.oldest),
		ErrorTexts: append([]string{}, all.texts...), // [] as JSON, not null
	}
	if window > 0 {
		out.CyclesPerSecond = round(float64(all.cycles) / window.Seconds())
	}
	return out
}

func ms(d time.Duration) float64 { return round(d.Seconds() * 1000) }

// round to three places: more is noise.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }
