package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// interruptedPatience is for what is under way when the run is ended early: whoever
// did that waits for it to return.
const interruptedPatience = time.Second

// run is one call of Run.
type run struct {
	cfg       Config
	workers   []*worker
	holder    *worker // of the shared semaphore; nil if the mode needs none
	recorders []*recorder
	pacer     *pacer // nil without a rate

	epoch       time.Time     // all moments are counted from here
	began, from time.Duration // of the load, and of the window
	to          atomic.Int64  // the end of the window, a time.Duration
	interrupted atomic.Bool

	ops    context.Context // of all units
	cancel context.CancelCauseFunc
	stop   chan struct{} // closed when no unit is to begin any more
	failed chan error    // holds the first error that makes the run pointless
}

// Run puts the load on and measures it. dial is called for one worker after the
// other, 0 to Workers-1; for [Poll] and [Mixed] once more, with the number Workers,
// for the one who holds what is polled.
//
// If ctx ends while the load is on, the Result is about the time until then and err
// is nil. In the end everything is released and closed. If that fails, the Result is
// good all the same, and err says what was left behind.
func Run(ctx context.Context, cfg Config, dial func(worker int) (Locker, error)) (result Result, err error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	r := newRun(cfg.withDefaults())
	r.ops, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	defer r.cancel(nil)
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx, dial); err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, r.cleanUp(ctx)) }()
	if err := r.prepare(ctx); err != nil {
		return Result{}, r.explain(err)
	}
	if err := r.load(ctx); err != nil {
		return Result{}, r.explain(err)
	}
	return r.result(), nil
}

func newRun(cfg Config) *run {
	r := &run{cfg: cfg, epoch: time.Now(), stop: make(chan struct{}), failed: make(chan error, 1)}
	if cfg.Rate > 0 {
		r.pacer = newPacer(r)
	}
	for range min(cfg.Workers, maxRecorders) {
		r.recorders = append(r.recorders, newRecorder())
	}
	return r
}

// now is a moment of the run.
func (r *run) now() time.Duration { return time.Since(r.epoch) }

// end is that of the window.
func (r *run) end() time.Duration { return time.Duration(r.to.Load()) }

// fail ends the run: there is nothing to be measured.
func (r *run) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

// explain says which mode needs what cannot be done.
func (r *run) explain(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("mode %s cannot be run here: %w", r.cfg.Mode, err)
	}
	return err
}

// open dials for all workers.
func (r *run) open(ctx context.Context, dial func(worker int) (Locker, error)) error {
	n := r.cfg.Workers
	if r.cfg.Mode.busy() {
		n++
	}
	for i := range n {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		locker, err := dial(i)
		if err != nil {
			return fmt.Errorf("worker %d: %w", i, err)
		}
		w := &worker{
			run: r, locker: locker, units: units[r.cfg.Mode], turn: i % len(units[r.cfg.Mode]), rec: r.recorders[i%len(r.recorders)],
			own: hold{name: ownName(r.cfg.Prefix, i)}, kept: hold{name: keptName(r.cfg.Prefix, i)}, shared: hold{name: sharedName(r.cfg.Prefix)},
		}
		if i == r.cfg.Workers {
			r.holder = w
		} else {
			r.workers = append(r.workers, w)
		}
	}
	return nil
}

// atOnce is how many set-ups and releases are under way at the same time: enough to
// be quick, and no load that the service has to cope with.
const atOnce = 256

// each does something for all workers, many at once, and waits. It returns the first
// error and how many more there were.
func (r *run) each(do func(*worker) error) error {
	workers := r.workers
	if r.holder != nil {
		workers = append(workers[:len(workers):len(workers)], r.holder)
	}
	errs := make([]error, len(workers))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(len(workers), atOnce) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(workers)); i = next.Add(1) - 1 {
				errs[i] = do(workers[i])
			}
		})
	}
	all.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return fmt.Errorf("%w (and %d more)", errs[0], len(errs)-1)
}

// prepare acquires what is held for the whole run.
func (r *run) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Patience)
	defer cancel()
	err := r.each(func(w *worker) error {
		if w == r.holder {
			return w.hold(ctx)
		}
		return w.prepare(ctx)
	})
	if err != nil {
		return fmt.Errorf("before the load: %w", err)
	}
	return context.Cause(ctx)
}

// cleanUp releases everything, ctx ended or not.
func (r *run) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Patience)
	defer cancel()
	if err := r.each(func(w *worker) error { return w.cleanUp(ctx) }); err != nil {
		return fmt.Errorf("after the load, left behind until its timeout: %w", err)
	}
	return nil
}

func (r *run) close() error {
	if err := r.each(func(w *worker) error { return w.locker.Close() }); err != nil {
		return fmt.Errorf("after the load: %w", err)
	}
	return nil
}

// load runs the workers from the first unit to the last.
func (r *run) load(ctx context.Context) error {
	r.began = r.now()
	r.from = r.began + r.cfg.Warmup
	r.to.Store(int64(r.from + r.cfg.Duration))
	var working sync.WaitGroup
	for _, w := range r.workers {
		working.Go(w.work)
	}
	if r.pacer != nil {
		working.Go(func() {
			if err := r.pacer.pace(); err != nil {
				r.fail(err)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		working.Wait()
	}()

	err := r.watch(ctx)
	close(r.stop)
	patience := r.cfg.Patience
	if ctx.Err() != nil || err != nil {
		r.interrupted.Store(true)
		patience = min(patience, interruptedPatience)
	}
	late := time.AfterFunc(patience, func() { r.cancel(errCutOff) })
	defer late.Stop()
	<-ended
	select {
	case failed := <-r.failed: // at the last moment
		err = errors.Join(err, failed)
	default:
	}
	return err
}

// errCutOff is the cause with which the context of units under way ends.
var errCutOff = errors.New("cut off")

// watch returns when the window is over or ctx has ended, and the error that makes
// the run pointless. It tells the progress.
func (r *run) watch(ctx context.Context) error {
	over := time.NewTimer(r.cfg.Warmup + r.cfg.Duration)
	defer over.Stop()
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var last Progress
	for {
		select {
		case <-over.C:
			return nil
		case <-ctx.Done():
			r.to.Store(int64(min(r.now(), r.end())))
			return nil
		case err := <-r.failed:
			return err
		case <-second.C:
			if r.cfg.Progress != nil {
				last = r.progress(last)
				r.cfg.Progress(last)
			}
		}
	}
}

func (r *run) progress(last Progress) Progress {
	now := r.now()
	p := Progress{Elapsed: now - r.began, Warmup: now < r.from}
	for _, rec := range r.recorders {
		p.Cycles += rec.allFinished.Load()
		p.Errors += rec.allFailed.Load()
	}
	if r.pacer != nil {
		p.Backlog = r.pacer.late()
	}
	if passed := p.Elapsed - last.Elapsed; passed > 0 {
		p.PerSecond = float64(p.Cycles-last.Cycles) / passed.Seconds()
	}
	return p
}
