package testcluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/testcluster/history"
)

// ChaosOptions say how a cluster is hurt and what is done to it meanwhile. The zero
// value is ten minutes of every fault there is.
type ChaosOptions struct {
	Options
	// Duration is how long faults strike. 10 min if zero.
	Duration time.Duration
	// Gap is how long it is between two faults, on average. 15 s if zero.
	Gap time.Duration
	// Faults are those to draw from. Faults() if nil.
	Faults []Fault
	// Schedule, if not nil, is carried out instead of one that is drawn.
	Schedule Schedule
	Workload Workload
	// MinOps is how many calls must be answered for the run to count: a cluster that
	// serves nobody breaks no promise. One every five seconds if zero.
	MinOps int
	// NeedProof makes the run count only if every fault of Faults has struck and has
	// shown that it did something.
	NeedProof bool
	// Artifacts is a directory for what explains a failure: the schedule, the
	// history, the log, drawings. A new one for temporary files if empty, which the
	// failing test names and leaves there.
	Artifacts string

	sabotage func(*Cluster) // breaks the cluster on purpose, in the tests of this package
}

func (o ChaosOptions) withDefaults() (ChaosOptions, error) {
	var err error
	o.Options, err = o.Options.withDefaults()
	o.Duration = cmp.Or(o.Duration, 10*time.Minute)
	o.Gap = cmp.Or(o.Gap, 15*time.Second)
	if o.Faults == nil {
		o.Faults = Faults()
	}
	if o.Schedule == nil && o.Gap > 0 {
		o.Schedule = DrawSchedule(o.Seed, o.Duration, o.Gap, o.Faults)
	}
	o.MinOps = cmp.Or(o.MinOps, max(1, int(o.Duration/(5*time.Second))))
	o.Workload = o.Workload.withDefaults()
	err = errors.Join(err, o.Workload.validate(), within("Duration", o.Duration, time.Second, maxDuration), within("Gap", o.Gap, time.Millisecond, maxDuration),
		within("MinOps", o.MinOps, 0, 1<<40))
	tune := o.Tune
	o.Tune = func(cfg *cluster.Config) { // so that nodes come back by snapshot too
		cfg.SnapshotInterval, cfg.SnapshotThreshold, cfg.TrailingLogs = 20*time.Second, 200, 100
		if tune != nil {
			tune(cfg)
		}
	}
	return o, err
}

// ChaosReport is what came of it.
type ChaosReport struct {
	Seed     uint64
	Elapsed  time.Duration // of the cluster's time
	Schedule Schedule
	Faults   map[string]Tally // by name
	// Report is the verdict on what the clients saw, and on what was left when all
	// was healed: replicas that differ, lines that do not empty, nodes that do not
	// come back, faults that did nothing.
	history.Report

	history history.History
	log     history.Journal
	events  []string
}

// String tells it to people.
func (r ChaosReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %v: %s", r.Seed, r.Elapsed.Round(time.Second), r.Report)
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		t := r.Faults[name]
		fmt.Fprintf(&b, "  %-20s struck %d times, with proof %d\n", name, t.Injected, t.Proven)
	}
	return b.String()
}

// Chaos starts a cluster in virtual time, lets clients work and faults strike, heals
// everything and judges what the clients saw. It fails the test if a promise was
// broken or the run does not count; how to have the same faults again is in what it
// logs then.
func Chaos(t *testing.T, opts ChaosOptions) ChaosReport {
	t.Helper()
	report := chaos(t, opts)
	if !report.OK() {
		t.Error(report)
	}
	return report
}

// chaos is Chaos without the failing: it fails the test only if the run could not be
// made.
func chaos(t *testing.T, opts ChaosOptions) (report ChaosReport) {
	t.Helper()
	opts, err := opts.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range opts.Schedule {
		if step.At > opts.Duration {
			t.Fatalf("testcluster: the schedule has a step at %v, and Duration is %v: it would never be carried out", step.At, opts.Duration)
		}
	}
	r := &chaosRun{opts: opts}
	if err := newNemesis(nil, opts.Faults, opts.Seed, nil).check(opts.Schedule); err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T) { report = r.run(t) })
	if t.Failed() {
		return report
	}
	// Out of the bubble: to judge takes real time.
	limits := history.Limits{MinOps: opts.MinOps, Overstay: 5*time.Second + 2*opts.ElectionTimeout, Drawings: r.artifacts(t)}
	after := report.Violations
	report.Report = history.Check(report.history, report.log, limits)
	report.Violations = append(report.Violations, after...)
	if !report.OK() {
		r.keep(t, limits.Drawings, report)
	}
	return report
}

// chaosRun is one run of Chaos.
type chaosRun struct {
	opts ChaosOptions
	c    *Cluster
	rec  *history.Recorder

	mu     sync.Mutex
	events []string
}

func (r *chaosRun) event(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprintf("%v %s", r.c.Elapsed(), text))
}

// run is what happens in virtual time.
func (r *chaosRun) run(t *testing.T) ChaosReport {
	r.c = New(t, r.opts.Options)
	r.rec = history.NewRecorder()
	r.c.Leader() // the schedule begins with one
	nemesis := newNemesis(r.c, r.opts.Faults, r.opts.Seed, r.event)
	if r.opts.sabotage != nil {
		r.opts.sabotage(r.c)
	}
	work, rest := context.WithCancel(context.Background())
	var workers, faults sync.WaitGroup
	r.employ(work, &workers)
	faults.Go(func() { nemesis.run(r.opts.Schedule, work.Done()) })
	<-time.After(r.opts.Duration)
	rest()
	faults.Wait() // heals what is left
	workers.Wait()
	report := ChaosReport{Seed: r.opts.Seed, Schedule: r.opts.Schedule, Faults: map[string]Tally{}}
	for _, err := range nemesis.errs {
		report.violated("recovery", err)
	}
	r.aftermath(&report)
	for name, tally := range nemesis.tallies {
		report.Faults[name] = *tally
		if r.opts.NeedProof && tally.Proven == 0 {
			report.violated("faults", fmt.Errorf("the run does not count: fault %s did nothing (struck %d times)", name, tally.Injected))
		}
	}
	report.Elapsed = r.c.Elapsed()
	report.history = r.rec.History()
	report.events = r.events
	return report
}

func (r *ChaosReport) violated(verdict string, err error) {
	r.Violations = append(r.Violations, history.Violation{Verdict: verdict, Text: err.Error()})
}

// aftermath sees whether the cluster has recovered.
func (r *chaosRun) aftermath(report *ChaosReport) {
	if err := r.c.linesEmpty(r.c.Client()); err != nil {
		report.violated("line empties", err)
	}
	applied, err := r.c.settle()
	if err != nil {
		report.violated("recovery", err)
		return
	}
	if report.log, err = r.c.journal.committed(applied); err != nil {
		report.violated("nothing lost", err)
		return
	}
	if err := r.c.journal.matching(); err != nil {
		report.violated("logs match", err)
	}
	if err := r.c.compareReplicas(report.log); err != nil {
		report.violated("replicas equal", err)
	}
	if err := timeGiven(report.log, r.c.journal.terms()); err != nil {
		report.violated("time given", err)
	}
	for i := range report.log { // as the recorder counts
		report.log[i].At += r.rec.At(r.c.journal.began)
	}
}

// employ starts the workers.
func (r *chaosRun) employ(work context.Context, wg *sync.WaitGroup) {
	w := r.opts.Workload
	seed := r.opts.Seed
	for range w.Clients {
		cl := r.c.Client()
		for range w.Workers {
			seed++
			worker := newWorker(w, fmt.Sprintf("%s-w%d", cl.Name, seed-r.opts.Seed), cl.Client, r.rec, seed, work)
			wg.Go(func() { worker.run(func() bool { return false }) })
		}
	}
	for _, m := range r.c.machines {
		seed++
		own := seed
		wg.Go(func() { r.embedded(m, work, own) })
	}
}

// embedded is a worker inside a node, and in the next one when that has ended.
func (r *chaosRun) embedded(m *machine, work context.Context, seed uint64) {
	for life := 1; work.Err() == nil; life++ {
		node := m.running()
		if node == nil {
			select {
			case <-time.After(time.Second):
			case <-work.Done():
			}
			continue
		}
		r.inside(node, fmt.Sprintf("%s-life%d", m.id, life), work, seed+uint64(life)<<32)
	}
}

func (r *chaosRun) inside(node *cluster.Node, id string, work context.Context, seed uint64) {
	cl := node.Client()
	defer func() { _ = cl.Close() }() // the node may have gone first
	w := newWorker(r.opts.Workload, id, cl, r.rec, seed, work)
	w.run(func() bool {
		select {
		case <-node.Done():
			return true
		default:
			return false
		}
	})
}

// artifacts is the directory for what explains a failure.
func (r *chaosRun) artifacts(t *testing.T) string {
	if r.opts.Artifacts != "" {
		return r.opts.Artifacts
	}
	dir, err := os.MkdirTemp("", "sema-chaos-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) }) // stays if there is something in it
	return dir
}

// keep writes down what explains a failure.
func (r *chaosRun) keep(t *testing.T, dir string, report ChaosReport) {
	var ops strings.Builder
	for _, op := range report.history.Ops {
		fmt.Fprintf(&ops, "%+v\n", op)
	}
	var log strings.Builder
	for _, e := range report.log {
		fmt.Fprintf(&log, "%d term %d at %v: %+v\n", e.Index, e.Term, e.At, e.Batch)
	}
	var errs []error
	for name, text := range map[string]string{
		"schedule.txt": fmt.Sprintf("# seed %d\n%s", report.Seed, report.Schedule),
		"history.txt":  ops.String(), "log.txt": log.String(),
		"events.txt": strings.Join(report.events, "\n"), "report.txt": report.String(), "nodes.log": r.c.logs.String(),
	} {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	if err := errors.Join(errs...); err != nil {
		t.Errorf("keeping what explains the failure: %v", err)
	}
	t.Logf("seed %d: what explains it is in %s", report.Seed, dir)
}
