package leash_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/internal/leash"
	"github.com/semanode/sema/internal/moment"
)

var errLost = errors.New("lost")

func TestEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leash.New(t.Context(), moment.Now(), time.Second, errLost)
		time.Sleep(900 * time.Millisecond)
		if err := l.Context().Err(); err != nil {
			t.Fatalf("after 0.9 s of 1 s: %v", err)
		}
		<-l.Context().Done()
		if cause := context.Cause(l.Context()); cause != errLost || !l.Lost() {
			t.Fatalf("ended with %v, lost %v", cause, l.Lost())
		}
	})
}

func TestExtendedItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leash.New(t.Context(), moment.Now(), time.Second, errLost)
		began := time.Now()
		time.Sleep(900 * time.Millisecond)
		early := moment.Now()
		if !l.Extend(early) {
			t.Fatal("extended too late")
		}
		<-l.Context().Done()
		if d := time.Since(began); d < 1890*time.Millisecond || d > 1910*time.Millisecond {
			t.Fatalf("ended after %v, want 1.9 s", d)
		}
		if l.Extend(moment.Now()) || l.Context().Err() == nil {
			t.Fatal("a late answer revived it")
		}
	})
}

func TestAnOlderMomentDoesNotShortenIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := moment.Now()
		time.Sleep(500 * time.Millisecond)
		l := leash.New(t.Context(), moment.Now(), time.Second, errLost)
		if !l.Extend(first) {
			t.Fatal("ended")
		}
		time.Sleep(900 * time.Millisecond)
		if err := l.Context().Err(); err != nil {
			t.Fatalf("ended early: %v", err)
		}
		l.Drop()
	})
}

// TestNobodyIsToldTooLate: whoever asks looks at the clocks, before any timer has
// run. The moment is long past already, as after a stop.
func TestNobodyIsToldTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := moment.Now()
		time.Sleep(time.Hour)
		ask := map[string]func(ctx context.Context) bool{
			"Err": func(ctx context.Context) bool { return ctx.Err() != nil },
			"Done": func(ctx context.Context) bool {
				select {
				case <-ctx.Done():
					return true
				default:
					return false
				}
			},
			"a child's Err": func(ctx context.Context) bool {
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				return child.Err() != nil && context.Cause(child) == errLost
			},
		}
		for name, over := range ask {
			l := leash.New(t.Context(), sent, time.Second, errLost) // its timer has not run
			if !over(l.Context()) {
				t.Errorf("%s does not say that it is over", name)
			}
			l.Drop()
		}
	})
}

func TestDroppedItWasNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leash.New(t.Context(), moment.Now(), time.Second, errLost)
		if l.Drop() || context.Cause(l.Context()) != context.Canceled {
			t.Fatalf("dropped in time: %v", context.Cause(l.Context()))
		}
		l.Lose()
		if l.Lost() {
			t.Fatal("lost after it was dropped")
		}
	})
}

func TestLostItStaysLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := leash.New(t.Context(), moment.Now(), time.Second, errLost)
		l.Lose()
		if !l.Drop() || context.Cause(l.Context()) != errLost || l.Extend(moment.Now()) {
			t.Fatalf("lost, then dropped: %v", context.Cause(l.Context()))
		}
	})
}

func TestEndsWithItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		l := leash.New(parent, moment.Now(), time.Second, errLost)
		cancel()
		if err := l.Context().Err(); !errors.Is(err, context.Canceled) || l.Lost() {
			t.Fatalf("with its parent: %v, lost %v", err, l.Lost())
		}
		l.Drop()
	})
}

// TestWatchedItEndsByItselfAndWhenItIsLookedAt: the same as any other, but that its timer
// goes off once.
func TestWatchedItEndsByItselfAndWhenItIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		l := leash.NewWatched(t.Context(), moment.Now(), time.Hour, errLost)
		time.Sleep(30 * time.Minute)
		l.Check()
		if l.Over() || !l.Extend(moment.Now()) {
			t.Fatal("it ended at half of its time")
		}
		<-l.Context().Done()
		if d := time.Since(began); d < 89*time.Minute || d > 91*time.Minute || !l.Lost() {
			t.Fatalf("ended after %v, lost %v; want 90 minutes", d, l.Lost())
		}
		late := leash.NewWatched(t.Context(), moment.Moment{}, time.Hour, errLost) // its timer has not run
		late.Check()
		if !late.Over() || !late.Lost() {
			t.Fatal("its time is up, and it has not ended")
		}
	})
}

func BenchmarkErr(b *testing.B) {
	l := leash.New(context.Background(), moment.Now(), time.Hour, errLost)
	defer l.Drop()
	for ctx := l.Context(); b.Loop(); {
		_ = ctx.Err()
	}
}

// TestEndInThePast: the timer may ring before New has returned.
func TestEndInThePast(t *testing.T) {
	for range 1000 {
		l := leash.New(t.Context(), moment.Moment{}, time.Second, errLost)
		<-l.Context().Done()
		if !l.Drop() {
			t.Fatal("it was not lost")
		}
	}
}
