package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// errHeld: a try to acquire was refused.
	errHeld = errors.New("acquire: held by somebody else")
	// errNotHeld: a try was not refused, and should have been.
	errNotHeld = errors.New("acquire: acquired what somebody else holds")
)

// After an error a worker that has no rate pauses, longer and longer while errors
// go on: a service that is gone would otherwise be asked a million times a second.
const (
	firstPause   = time.Millisecond
	longestPause = 500 * time.Millisecond
)

// hold is what a worker has, or may have, under a name.
type hold struct {
	name  string
	held  bool // for certain
	maybe bool // it has to be released
}

// worker does units, one after the other, in a goroutine of its own.
type worker struct {
	run    *run
	locker Locker
	units  []unit
	turn   int
	rec    *recorder // shared with few others or nobody

	own    hold // Cycle
	kept   hold // Touch
	shared hold // Handoff, Poll
}

// take acquires. A refusal is errHeld.
func (w *worker) take(ctx context.Context, h *hold) error {
	if h.maybe { // left by an error
		if err := w.give(ctx, h); err != nil {
			return err
		}
	}
	h.maybe = true
	ok, err := w.locker.TryAcquire(ctx, h.name)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		h.maybe = false
		return fmt.Errorf("acquire: %w", err)
	case err != nil:
		return fmt.Errorf("acquire: %w", err)
	case !ok:
		h.maybe = false
		return errHeld
	}
	h.held = true
	return nil
}

// wait acquires, however long it takes.
func (w *worker) wait(ctx context.Context, h *hold) error {
	if h.maybe {
		if err := w.give(ctx, h); err != nil {
			return err
		}
	}
	h.maybe = true
	err := w.locker.Lock(ctx, h.name)
	if err != nil {
		h.maybe = !errors.Is(err, errors.ErrUnsupported)
		return fmt.Errorf("lock: %w", err)
	}
	h.held = true
	return nil
}

func (w *worker) give(ctx context.Context, h *hold) error {
	h.held = false
	if err := w.locker.Release(ctx, h.name); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	h.maybe = false
	return nil
}

// prepare acquires what the worker keeps for the whole run.
func (w *worker) prepare(ctx context.Context) error {
	if !w.run.cfg.Mode.keeps() {
		return nil
	}
	return w.take(ctx, &w.kept)
}

// hold makes the worker the one who holds the shared semaphore for the whole run.
func (w *worker) hold(ctx context.Context) error {
	err := w.wait(ctx, &w.shared)
	if errors.Is(err, errors.ErrUnsupported) {
		err = w.take(ctx, &w.shared)
	}
	return err
}

// cleanUp releases all that the worker has or may have.
func (w *worker) cleanUp(ctx context.Context) error {
	var errs []error
	for _, h := range []*hold{&w.own, &w.kept, &w.shared} {
		if h.maybe {
			if err := w.give(ctx, h); err != nil {
				errs = append(errs, fmt.Errorf("%q: %w", h.name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// work does units until the run says stop.
func (w *worker) work() {
	pause := firstPause
	for {
		began, ok := w.next()
		if !ok {
			return
		}
		switch {
		case w.one(began):
			pause = firstPause
		case w.run.pacer == nil:
			w.rest(pause)
			pause = min(2*pause, longestPause)
		}
	}
}

// one does one unit, whose latency counts from began. It is false if that failed.
func (w *worker) one(began time.Duration) bool {
	do := w.units[w.turn]
	w.turn = (w.turn + 1) % len(w.units)
	end, err := do(w, w.run.ops)
	now := w.run.now()
	switch {
	case err == nil:
		w.rec.finished(w.run, began, end, now)
	case errors.Is(err, errors.ErrUnsupported):
		w.run.fail(err)
	case w.run.ops.Err() != nil:
		w.rec.cutOff(w.run, began, now, err)
	default:
		w.rec.failed(w.run, now, err)
	}
	return err == nil
}

// next waits until the next unit is to begin and returns the moment from which its
// latency counts. It is false when the run is over.
func (w *worker) next() (time.Duration, bool) {
	if p := w.run.pacer; p != nil {
		select {
		case due := <-p.due:
			return due, true
		case <-w.run.stop:
			return 0, false
		}
	}
	select {
	case <-w.run.stop:
		return 0, false
	default:
		return w.run.now(), true
	}
}

func (w *worker) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.run.stop:
	}
}
