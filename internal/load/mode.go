package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Mode is what every worker does over and over.
type Mode string

const (
	// Cycle acquires and releases a semaphore of the worker's own.
	Cycle Mode = "cycle"
	// Handoff waits in line for one semaphore that all workers want, and gives it
	// back at once. The latency is that of the wait: from asking to having it.
	Handoff Mode = "handoff"
	// Poll tries to acquire one semaphore that somebody else holds all the time. A
	// unit is one refusal.
	Poll Mode = "poll"
	// Touch touches a semaphore that the worker holds all the time.
	Touch Mode = "touch"
	// Mixed is ten units in turn: four of Cycle, three of Touch, two of Poll, and
	// one that gets who holds the semaphore that is polled.
	Mixed Mode = "mixed"
)

// Modes returns all of them.
func Modes() []Mode { return []Mode{Cycle, Handoff, Poll, Touch, Mixed} }

// unit does one unit for a worker and returns when its latency ended.
type unit func(w *worker, ctx context.Context) (time.Duration, error)

// units are what a worker does in turn.
var units = map[Mode][]unit{
	Cycle:   {cycle},
	Handoff: {handOff},
	Poll:    {poll},
	Touch:   {touch},
	Mixed:   {cycle, touch, cycle, poll, cycle, touch, get, cycle, touch, poll},
}

// keeps reports whether each worker has a hold for the whole run.
func (m Mode) keeps() bool { return m == Touch || m == Mixed }

// busy reports whether somebody else holds the shared semaphore for the whole run.
func (m Mode) busy() bool { return m == Poll || m == Mixed }

func cycle(w *worker, ctx context.Context) (time.Duration, error) {
	if err := w.take(ctx, &w.own); err != nil {
		return 0, err
	}
	err := w.give(ctx, &w.own)
	return w.run.now(), err
}

func handOff(w *worker, ctx context.Context) (time.Duration, error) {
	if err := w.wait(ctx, &w.shared); err != nil {
		return 0, err
	}
	granted := w.run.now()
	return granted, w.give(ctx, &w.shared)
}

func poll(w *worker, ctx context.Context) (time.Duration, error) {
	err := w.take(ctx, &w.shared)
	end := w.run.now()
	switch {
	case errors.Is(err, errHeld):
		return end, nil
	case err != nil:
		return 0, err
	}
	return 0, errors.Join(errNotHeld, w.give(ctx, &w.shared))
}

func touch(w *worker, ctx context.Context) (time.Duration, error) {
	if !w.kept.held { // the last touch failed
		if err := w.take(ctx, &w.kept); err != nil {
			return 0, err
		}
	}
	if err := w.locker.Touch(ctx, w.kept.name); err != nil {
		w.kept.held = false
		return 0, fmt.Errorf("touch: %w", err)
	}
	return w.run.now(), nil
}

func get(w *worker, ctx context.Context) (time.Duration, error) {
	if err := w.locker.Get(ctx, w.shared.name); err != nil {
		return 0, fmt.Errorf("get: %w", err)
	}
	return w.run.now(), nil
}
