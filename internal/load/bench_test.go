package load

import (
	"context"
	"testing"
	"time"
)

// instant is a service that takes no time.
type instant struct{}

func (instant) TryAcquire(context.Context, string) (bool, error) { return true, nil }
func (instant) Touch(context.Context, string) error              { return nil }
func (instant) Release(context.Context, string) error            { return nil }
func (instant) Lock(context.Context, string) error               { return nil }
func (instant) Get(context.Context, string) error                { return nil }
func (instant) Close() error                                     { return nil }

// BenchmarkUnit is what the generator itself costs per unit: a worker does units of a
// service that takes no time.
func BenchmarkUnit(b *testing.B) {
	r := newRun(Config{Mode: Cycle, Workers: 1, Duration: time.Hour})
	r.ops = context.Background()
	r.to.Store(int64(time.Hour))
	w := &worker{run: r, locker: instant{}, units: units[Cycle], rec: r.recorders[0]}
	b.ReportAllocs()
	for b.Loop() {
		w.one(r.now())
	}
}

// BenchmarkRate tells how late a unit begins that nothing keeps waiting, at a rate
// that leaves the process idle in between.
func BenchmarkRate(b *testing.B) {
	precise := newSleeper
	newSleeper = preciseSleeper
	defer func() { newSleeper = precise }()
	for b.Loop() {
		res, err := Run(b.Context(), Config{Mode: Touch, Workers: 4, Duration: 2 * time.Second, Rate: 500},
			func(int) (Locker, error) { return instant{}, nil })
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(res.P50Ms*1000, "µs-p50")
		b.ReportMetric(res.P99Ms*1000, "µs-p99")
	}
}
