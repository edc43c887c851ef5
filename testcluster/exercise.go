package testcluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

// Section is a critical section: what somebody does while holding a lock. ctx ends
// when the hold is lost. It may be called by several workers, one after the other
// if all goes well, and may return any error.
type Section func(ctx context.Context, lock *Held) error

// ExerciseOptions say how a section is exercised. The zero value is a good default.
type ExerciseOptions struct {
	Options
	// Name is the semaphore's. "exercise" if empty.
	Name string
	// Workers compete for it, each on a machine of its own. 3 if zero.
	Workers int
	// Timeout is that of the holds. 5 s if zero.
	Timeout time.Duration
	// Duration is how long it goes on. 10 min if zero.
	Duration time.Duration
	// Gap is how long it is between two faults of the cluster, on average. 10 s if zero.
	Gap time.Duration
	// Faults are those to draw from. Faults() if nil.
	Faults []Fault
	// StallEvery is how many effects there are, on average, to one before which the
	// holder is stopped, for up to three timeouts. 5 if zero.
	StallEvery int
}

func (o ExerciseOptions) withDefaults() (ExerciseOptions, error) {
	var err error
	o.Options, err = o.Options.withDefaults()
	o.Name = cmp.Or(o.Name, "exercise")
	o.Workers = cmp.Or(o.Workers, 3)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.Duration = cmp.Or(o.Duration, 10*time.Minute)
	o.Gap = cmp.Or(o.Gap, 10*time.Second)
	o.StallEvery = cmp.Or(o.StallEvery, 5)
	if o.Faults == nil {
		o.Faults = Faults()
	}
	return o, errors.Join(err, sema.Validate(o.Name, "worker", o.Timeout),
		within("Workers", o.Workers, 1, maxWorkers), within("StallEvery", o.StallEvery, 1, 1<<20),
		within("Duration", o.Duration, time.Second, maxDuration), within("Gap", o.Gap, time.Millisecond, maxDuration))
}

// minSections is how many sections must have done something for an exercise to count.
const minSections = 10

// ExerciseReport is what came of it.
type ExerciseReport struct {
	Seed     uint64
	Sections int              // that were run
	Accepted int              // effects that took place
	Refused  int              // effects that returned an error, as a fence does
	Stalls   int              // holders that were stopped before an effect
	Lost     int              // sections that lost their hold while they were at work
	Faults   map[string]Tally // of the cluster, by name
	// Mistakes are the section's, and of each kind at most one; each tells what
	// happened in plain words.
	Mistakes []Mistake
	// Trouble is why the exercise does not count.
	Trouble []error
}

// OK reports whether the section made no mistake and the exercise counts.
func (r ExerciseReport) OK() bool { return len(r.Mistakes) == 0 && len(r.Trouble) == 0 }

// String tells it to people.
func (r ExerciseReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d sections did %d things and were refused %d; %d holders were stalled, %d lost their hold at work; faults of the cluster:",
		r.Seed, r.Sections, r.Accepted, r.Refused, r.Stalls, r.Lost)
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		if n := r.Faults[name].Proven; n > 0 {
			fmt.Fprintf(&b, " %s %d", name, n)
		}
	}
	for _, m := range r.Mistakes {
		fmt.Fprintf(&b, "\n\n%s", m)
	}
	for _, err := range r.Trouble {
		fmt.Fprintf(&b, "\n\n%v", err)
	}
	return b.String()
}

// Exercise runs somebody's critical section from several workers on a real cluster in
// virtual time, while faults strike: holders are stalled in the middle of their work,
// answers are lost, holds run out, leaders die. It fails the test, and says what
// happened in plain words, if
//
//   - two were at work at once,
//   - somebody went on to work after its context was cancelled, or
//   - a write was accepted with an old token, after one with a newer token.
//
// What counts as work is what the section does through [Held.Do]; whatever
// else waits in it must be made in virtual time, such as [time.After] and channels: no
// network, no subprocess, and no mutex that is held while its holder waits, for
// virtual time stands still meanwhile (package testing/synctest says why). A section must end with its
// context: if one is still at work long after the end of the exercise, the test
// panics. It must not end its goroutine, as t.Fatal does, but return an error. Exercise
// makes a bubble of its own and must not be called in another.
func Exercise(t *testing.T, opts ExerciseOptions, section Section) {
	t.Helper()
	if report := Examine(t, opts, section); !report.OK() {
		t.Error(report)
	}
}

// Examine is Exercise that leaves the verdict to the caller: it fails the test only
// if the exercise could not be made.
func Examine(t *testing.T, opts ExerciseOptions, section Section) (report ExerciseReport) {
	t.Helper()
	opts, err := opts.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if err := newNemesis(nil, opts.Faults, opts.Seed, nil).check(nil); err != nil {
		t.Fatal(err)
	}
	e := &exercise{opts: opts, section: section}
	bubble(t, func(t *testing.T) { report = e.run(t) })
	return report
}

// exercise is one run of Exercise.
type exercise struct {
	opts    ExerciseOptions
	section Section
	c       *Cluster
	witness *witness

	sections    context.Context // ends sections that do not come to an end
	endSections context.CancelFunc
	effects     chan struct{} // holds one token: somebody's effect takes place
}

func (e *exercise) run(t *testing.T) ExerciseReport {
	e.c = New(t, e.opts.Options)
	e.c.Leader()
	e.witness = newWitness(e.c.Elapsed)
	e.effects = make(chan struct{}, 1)
	work, rest := context.WithCancel(context.Background())
	defer rest()
	e.sections, e.endSections = context.WithCancel(context.Background())
	defer e.endSections()
	var workers, faults sync.WaitGroup
	for i := range e.opts.Workers {
		w := &exerciser{exercise: e, name: fmt.Sprintf("worker %d", i+1), client: e.c.Client(),
			chance: rand.New(rand.NewPCG(e.opts.Seed, 7+uint64(i)))}
		workers.Go(func() { w.run(work) })
	}
	nemesis := newNemesis(e.c, e.opts.Faults, e.opts.Seed, e.witness.fault)
	schedule := DrawSchedule(e.opts.Seed, e.opts.Duration, e.opts.Gap, e.opts.Faults)
	faults.Go(func() { nemesis.run(schedule, work.Done()) })
	<-time.After(e.opts.Duration)
	rest()
	faults.Wait()
	e.finish(&workers)
	report := e.witness.report()
	report.Seed = e.opts.Seed
	report.Faults = map[string]Tally{}
	for name, tally := range nemesis.tallies {
		report.Faults[name] = *tally
	}
	report.Trouble = append(append(report.Trouble, nemesis.errs...), e.enough(report)...)
	return report
}

// finish lets the sections under way come to their end, and then ends them.
func (e *exercise) finish(workers *sync.WaitGroup) {
	finished := make(chan struct{})
	go func() { // ends, or the test does
		workers.Wait()
		close(finished)
	}()
	select {
	case <-finished:
		return
	case <-time.After(3 * e.opts.Timeout):
	}
	e.endSections()
	select {
	case <-finished:
	case <-time.After(patience):
		panic(fmt.Sprintf("testcluster: a section has not returned %v after its context was cancelled: it must end with its context. "+
			"Its goroutine is among those below", patience))
	}
}

// enough reports why an exercise does not count that found nothing.
func (e *exercise) enough(r ExerciseReport) (trouble []error) {
	if len(r.Mistakes) > 0 || len(r.Trouble) > 0 {
		return nil
	}
	if r.Sections < minSections || r.Accepted < minSections {
		trouble = append(trouble, fmt.Errorf("the exercise does not count: %d sections did %d things; at least %d are wanted of each: "+
			"give it more time, and do the work in Held.Do", r.Sections, r.Accepted, minSections))
	}
	if r.Stalls == 0 || r.Lost == 0 {
		trouble = append(trouble, fmt.Errorf("the exercise does not count: %d holders were stalled, %d holds were lost at work; "+
			"give it more time, or let the section do more", r.Stalls, r.Lost))
	}
	return trouble
}

// exerciser is one worker.
type exerciser struct {
	*exercise
	name   string
	client *Client

	mu     sync.Mutex
	chance *rand.Rand
}

// draw returns a number below n.
func (w *exerciser) draw(n int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.chance.Int64N(n)
}

func (w *exerciser) run(work context.Context) {
	for {
		select {
		case <-time.After(time.Duration(w.draw(int64(w.opts.Timeout / 2)))):
		case <-work.Done():
			return
		}
		w.once()
	}
}

// once is a lock, a section and an unlock.
func (w *exerciser) once() {
	ctx, cancel := context.WithCancel(w.sections)
	defer cancel()
	lock, err := w.client.Lock(ctx, w.opts.Name, client.LockOptions{Owner: w.name, Timeout: w.opts.Timeout, Wait: time.Minute})
	if err != nil {
		return // such as a cluster without a leader for so long: the next time
	}
	held := &Held{worker: w, lock: lock}
	held.shift = w.witness.begin(w.name, lock.Token(), lock.Context())
	w.witness.end(held.shift, w.work(lock.Context(), held))
	ctx, cancelUnlock := context.WithTimeout(context.WithoutCancel(ctx), w.opts.Timeout)
	defer cancelUnlock()
	_ = lock.Unlock(ctx) // that it was lost is known
}

// work runs the section. One that panics, or ends its goroutine as t.FailNow does, is
// reported.
func (w *exerciser) work(ctx context.Context, held *Held) (err error) {
	returned := false
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the section of %s panicked: %v\n%s", w.name, p, debug.Stack())
			w.witness.trouble(err)
		} else if !returned {
			w.witness.trouble(fmt.Errorf("the section of %s ended its goroutine, as t.FailNow and t.Fatal do: let it return an error", w.name))
		}
	}()
	err = w.section(ctx, held)
	returned = true
	return err
}

// Held is the hold that a section works under.
type Held struct {
	worker *exerciser
	lock   *client.Lock
	shift  *shift
}

// Name returns the semaphore's name.
func (h *Held) Name() string { return h.lock.Name() }

// Token returns the fencing token, for what checks it.
func (h *Held) Token() uint64 { return h.lock.Token() }

// Do is an effect on what the lock protects: a write, a payment, a mail. what names
// it in reports. If effect returns an error, as a store does that refuses an old
// token, it did not take place; the error is returned as it is.
//
// Before the effect the holder may be stopped, as by a collection of garbage, a
// machine that is suspended or a request that is kept back by the network: the time
// between a check in the section and the effect is what a lock alone cannot protect.
// It may be called by several goroutines of the section. Effects take place one at a
// time, so those of this test need no mutex.
func (h *Held) Do(what string, effect func() error) error {
	w := h.worker
	asked := w.witness.ask(h.shift)
	if w.draw(int64(w.opts.StallEvery)) == 0 {
		h.stall()
	}
	w.effects <- struct{}{}
	defer func() { <-w.effects }()
	err := effect()
	w.witness.did(h.shift, what, asked, err)
	return err
}

// stall stops the worker's machine for a while.
func (h *Held) stall() {
	w := h.worker
	length := time.Duration(w.draw(int64(3 * w.opts.Timeout)))
	w.witness.stalled(h.shift, length)
	w.client.gate.Shut()
	<-time.After(length)
	w.client.gate.Open()
}
