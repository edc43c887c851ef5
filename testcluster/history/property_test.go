package history_test

import (
	"fmt"
	"testing"

	"github.com/semanode/sema/testcluster/history"
)

// forget takes the numbers of the moments away: what happened at the same time then has no order.
func forget(h history.History) history.History {
	for i := range h.Ops {
		op := &h.Ops[i]
		op.StartSeq, op.EndSeq = 0, 0
		for j := range op.Places {
			op.Places[j].Seq = 0
		}
	}
	return h
}

// A service that keeps its promises is never accused, whatever was lost on the way.
func TestCorrectServiceIsNeverAccused(t *testing.T) {
	runs := uint64(2000)
	if testing.Short() {
		runs = 300
	}
	answered := 0
	for seed := range runs {
		h := newWorld(seed, "", 2+int(seed%6), 1+int(seed%3), 60).history()
		if seed%2 == 1 {
			h = forget(h)
		}
		r := history.Check(h, nil, history.Limits{MinOps: 10})
		if answered += r.Answered; !r.OK() {
			t.Fatalf("seed %d: %v", seed, r)
		}
	}
	t.Logf("%d answers in %d histories", answered, runs)
}

// A service that breaks a promise is found out.
func TestBrokenServiceIsFound(t *testing.T) {
	for f, by := range map[fault]string{
		earlyExpiry:  "linearizable",
		twoHolders:   "linearizable",
		staleGet:     "linearizable",
		tokenReset:   "tokens rise",
		lastFirst:    "first come, first served",
		ghost:        "linearizable",
		forgotten:    "nothing lost",
		wrongRelease: "linearizable",
		lateTelling:  "told in time",
		deafTouch:    "nothing lost",
	} {
		t.Run(string(f), func(t *testing.T) {
			const runs = 60
			accused := map[string]int{}
			anyone := 0
			for seed := range uint64(runs) {
				names := violated(history.Check(newWorld(seed, f, 6, 2, 400).history(), nil, history.Limits{}))
				for _, name := range names {
					accused[name]++
				}
				if len(names) > 0 {
					anyone++
				}
			}
			t.Logf("of %d histories %d are accused: %v", runs, anyone, accused)
			if anyone < runs*9/10 || accused[by] < runs/2 {
				t.Errorf("%d of %d histories are accused, %d of %q", anyone, runs, accused[by], by)
			}
		})
	}
}

func BenchmarkLinearizable(b *testing.B) {
	for _, calls := range []int{300, 3_000, 30_000} {
		for _, bench := range []struct {
			name    string
			fault   fault
			unknown int
		}{{"kept", "", 8}, {"kept, half unknown", "", 50}, {"two holders", twoHolders, 8}, {"a ghost", ghost, 8}} {
			w := newWorld(7, bench.fault, 30, 1, calls)
			w.unknown = bench.unknown
			h := w.history()
			b.Run(fmt.Sprintf("%s/%d", bench.name, len(h.Ops)), func(b *testing.B) {
				for b.Loop() {
					r := history.Linearizable(h, nil, history.Limits{})
					if len(r.Undecided) > 0 || (len(r.Violations) == 0) != (bench.fault == "") {
						b.Fatal(r)
					}
				}
			})
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	h := newWorld(7, "", 30, 4, 12_000).history()
	for b.Loop() {
		if r := history.Check(h, nil, history.Limits{}); !r.OK() {
			b.Fatal(r)
		}
	}
	b.ReportMetric(float64(len(h.Ops)), "calls")
}
