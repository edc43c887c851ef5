package sema_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
)

// over is what a context says without being waited for.
func over(ctx context.Context) (err, cause error, done bool) {
	select {
	case <-ctx.Done():
		done = true
	default:
	}
	return ctx.Err(), context.Cause(ctx), done
}

// The touch is answered, and well, but later than the hold is known to stand. Whoever
// was told that it is lost is not told otherwise afterwards.
func TestALateTouchRevivesNothing(t *testing.T) {
	for _, late := range []time.Duration{0, time.Nanosecond, time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			svc := newScript()
			svc.touch = func(context.Context, int) error { // deaf to its context
				time.Sleep(time.Until(svc.start.Add(goodFor + late))) // virtual
				return nil
			}
			_, err := sema.Isolate(t.Context(), svc, "job", "me", func(ctx context.Context, _ sema.Info) (int, error) {
				<-ctx.Done()
				if lost := time.Since(svc.start); lost != goodFor {
					t.Errorf("late by %v: told after %v, want %v", late, lost, goodFor)
				}
				for range 3 {
					time.Sleep(late) // virtual: the answer comes, and is taken in
					synctest.Wait()
					if err, cause, done := over(ctx); err == nil || cause != sema.ErrLost || !done {
						t.Errorf("late by %v: the context came back: %v, %v, done %v", late, err, cause, done)
					}
				}
				return 0, nil
			}, sema.IsolateOptions{})
			if !errors.Is(err, sema.ErrLost) {
				t.Errorf("late by %v: got %v, want ErrLost", late, err)
			}
			if svc.count["touch"] != 1 {
				t.Errorf("late by %v: touched %d times", late, svc.count["touch"])
			}
		})
	}
}

// The work wakes up at the very moment at which its hold is lost, as after a stop of
// the process. Which runs first, it or a timer, is chance, so many try: each is
// told the truth.
func TestWorkIsToldTheTruthBeforeAnyTimerHasRun(t *testing.T) {
	for _, ask := range []struct {
		what string
		lost func(ctx context.Context) bool
	}{
		{"Err", func(ctx context.Context) bool { return ctx.Err() != nil && context.Cause(ctx) == sema.ErrLost }},
		{"Done", func(ctx context.Context) bool {
			select {
			case <-ctx.Done():
				return context.Cause(ctx) == sema.ErrLost
			default:
				return false
			}
		}},
	} {
		t.Run(ask.what, func(t *testing.T) {
			for range 500 {
				synctest.Test(t, func(t *testing.T) {
					svc := newScript()
					svc.touch = func(ctx context.Context, _ int) error { return silent(ctx) }
					var wake *time.Timer
					svc.acquire = func(int) (sema.Info, error) {
						wake = time.NewTimer(goodFor) // before the hold has any timer
						return sema.Info{Status: sema.Acquired}, nil
					}
					_, err := sema.Isolate(t.Context(), svc, "job", "me", func(ctx context.Context, _ sema.Info) (int, error) {
						<-wake.C
						if !ask.lost(ctx) {
							t.Error("it was told that the hold stands")
						}
						return 0, nil
					}, sema.IsolateOptions{})
					if !errors.Is(err, sema.ErrLost) {
						t.Errorf("got %v, want ErrLost", err)
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}
