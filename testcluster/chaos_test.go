package testcluster_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema/testcluster"
)

var (
	chaosDuration = flag.Duration("duration", 0, "how long TestChaos goes on, in virtual time; 100 h if 0, 20 h with -short, 3 h with -race")
	chaosSchedule = flag.String("schedule", "", "a file with a schedule, as a run that failed leaves it, in place of those that are drawn")
	chaosSeed     = flag.Uint64("seed", 0, "what TestChaos draws all seeds from; drawn if 0")
)

// chaosProfile is a kind of run. Heartbeats are what virtual time costs, so most of
// it goes by with slow ones.
type chaosProfile struct {
	name string
	opts testcluster.ChaosOptions
}

func chaosProfiles() []chaosProfile {
	type (
		chaos    = testcluster.ChaosOptions
		options  = testcluster.Options
		workload = testcluster.Workload
	)
	long := chaosProfile{"long", chaos{Duration: 8 * time.Hour, Gap: time.Minute, Options: options{ElectionTimeout: 10 * time.Second},
		Workload: workload{Think: 30 * time.Second, Timeout: 15 * time.Second}}}
	return []chaosProfile{
		long,
		long,
		{"dense", chaos{Duration: 15 * time.Minute, Gap: 8 * time.Second, Workload: workload{Think: time.Second, Semaphores: 3}}},
		long,
		long,
		{"five nodes", chaos{Duration: 30 * time.Minute, Gap: 10 * time.Second, Options: options{Nodes: 5, ElectionTimeout: 2 * time.Second}}},
		long,
		long,
		{"on disk", chaos{Duration: 10 * time.Minute, Gap: 10 * time.Second, Options: options{OnDisk: true, ElectionTimeout: 2 * time.Second}}},
		long,
		{"usual", chaos{Duration: 30 * time.Minute, Gap: 20 * time.Second, Options: options{ElectionTimeout: 2 * time.Second}, Workload: workload{Semaphores: 12}}},
		{"far", chaos{Duration: 30 * time.Minute, Gap: 15 * time.Second, Options: options{MinLatency: 50 * time.Millisecond, MaxLatency: 150 * time.Millisecond, ElectionTimeout: 3 * time.Second}}},
	}
}

// givenSchedule is that of -schedule, nil without.
func givenSchedule(t *testing.T) testcluster.Schedule {
	t.Helper()
	if *chaosSchedule == "" {
		return nil
	}
	text, err := os.ReadFile(*chaosSchedule)
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := testcluster.ParseSchedule(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return schedule
}

// TestChaos hurts clusters for a hundred virtual hours. To have the same schedules
// again:
//
//	go test ./testcluster -run 'TestChaos$' -v -seed SEED
//
// and for one of them, with the file that the failed run left:
//
//	go test ./testcluster -run 'TestChaos$' -v -duration 1h -schedule schedule.txt
func TestChaos(t *testing.T) {
	length := *chaosDuration
	if length == 0 {
		length = shortened(100 * time.Hour)
		if raceEnabled {
			length = 3 * time.Hour
		}
	}
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64N(1<<32) + 1
	}
	t.Logf("-seed %d -duration %v", seed, length)
	chance := rand.New(rand.NewPCG(seed, 0))
	total := newChaosTotal()
	t.Run("runs", func(t *testing.T) {
		left := length
		for i := 0; left > 0; i++ {
			profiles := chaosProfiles()
			p := profiles[i%len(profiles)]
			p.opts.Duration = min(p.opts.Duration, left)
			if p.opts.Schedule = givenSchedule(t); len(p.opts.Schedule) > 0 {
				p.opts.Duration = max(p.opts.Duration, p.opts.Schedule[len(p.opts.Schedule)-1].At+time.Minute)
			}
			left -= p.opts.Duration
			p.opts.Seed = chance.Uint64N(1<<32) + 1
			t.Run(fmt.Sprintf("%s, seed %d", p.name, p.opts.Seed), func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				r := testcluster.Chaos(t, p.opts)
				total.add(p.name, r, time.Since(began))
			})
		}
	})
	t.Log(total)
	if length >= 10*time.Hour {
		for _, f := range testcluster.Faults() {
			if total.faults[f.Name].Proven == 0 {
				t.Errorf("the runs do not count: fault %s never did anything", f.Name)
			}
		}
	}
}

// chaosTotal is what all runs came to.
type chaosTotal struct {
	mu             sync.Mutex
	runs           map[string]int
	took           map[string]time.Duration
	lasted         map[string]time.Duration
	ops, answered  int
	holds          int
	violations     int
	faults         map[string]testcluster.Tally
	injected, done int
}

func newChaosTotal() *chaosTotal {
	return &chaosTotal{runs: map[string]int{}, took: map[string]time.Duration{}, lasted: map[string]time.Duration{}, faults: map[string]testcluster.Tally{}}
}

func (c *chaosTotal) add(profile string, r testcluster.ChaosReport, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[profile]++
	c.took[profile] += took
	c.lasted[profile] += r.Elapsed
	c.ops += r.Ops
	c.answered += r.Answered
	c.holds += r.Holds
	c.violations += len(r.Violations)
	for name, tally := range r.Faults {
		sum := c.faults[name]
		sum.Injected += tally.Injected
		sum.Proven += tally.Proven
		c.faults[name] = sum
		c.injected += tally.Injected
		c.done += tally.Proven
	}
}

func (c *chaosTotal) String() string {
	var b strings.Builder
	var lasted time.Duration
	for _, name := range slices.Sorted(maps.Keys(c.runs)) {
		lasted += c.lasted[name]
		fmt.Fprintf(&b, "\n%-12s %4d runs, %8.1f virtual hours, %6.2f s of real time an hour", name, c.runs[name], c.lasted[name].Hours(), c.took[name].Seconds()/c.lasted[name].Hours())
	}
	fmt.Fprintf(&b, "\n%.1f virtual hours, %d calls of which %d were answered, %d lock handles, %d faults struck, %d with proof, %d violations (%d at a time)",
		lasted.Hours(), c.ops, c.answered, c.holds, c.injected, c.done, c.violations, runtime.GOMAXPROCS(0))
	for _, name := range slices.Sorted(maps.Keys(c.faults)) {
		fmt.Fprintf(&b, "\n  %-20s struck %6d times, with proof %6d", name, c.faults[name].Injected, c.faults[name].Proven)
	}
	return b.String()
}
