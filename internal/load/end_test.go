package load_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/internal/load"
)

func TestCtrlCGivesTheResultSoFar(t *testing.T) {
	for _, rate := range []float64{0, 1000} {
		t.Run(fmt.Sprint("rate ", rate), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s := newService(takes(ms))
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				r, err := load.Run(ctx, load.Config{Mode: load.Mixed, Workers: 2, Rate: rate, Warmup: time.Second, Duration: time.Hour}, s.dial)
				if err != nil {
					t.Fatal(err)
				}
				s.left(t)
				near(t, "seconds", r.Seconds, 3, 0.01)
				near(t, "cycles per second", r.CyclesPerSecond*r.Seconds, float64(r.Cycles), 1)
				if r.Cycles < 2000 || r.Errors != 0 {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// Ended while calls hang, before anything was measured: no errors, no division by
// zero, and it does not take long.
func TestCtrlCWhileCallsHang(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newService(func(op string, at time.Duration) (time.Duration, error) {
			if op == "acquire" {
				return time.Hour, nil
			}
			return ms, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		r, err := load.Run(ctx, load.Config{Mode: load.Cycle, Workers: 3, Warmup: time.Minute, Duration: time.Hour}, s.dial)
		if err != nil || r.Unfinished != 3 || r.Errors != 0 || r.Seconds != 0 || r.CyclesPerSecond != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("ended after %v", took)
		}
		s.left(t)
	})
}

func TestCtrlCBeforeTheLoad(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newService(takes(5 * time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := load.Run(ctx, load.Config{Mode: load.Touch, Workers: 3, Duration: time.Hour}, s.dial)
		if !errors.Is(err, context.DeadlineExceeded) || r.Workers != 0 {
			t.Errorf("%+v, %v", r, err)
		}
		s.left(t)
	})
}

// What is under way at the end is waited for, and what does not end then has failed,
// unless it waits in line.
func TestTheEndIsWaitedFor(t *testing.T) {
	hang := func(d time.Duration) func(string, time.Duration) (time.Duration, error) {
		return func(op string, at time.Duration) (time.Duration, error) {
			if (op == "acquire" || op == "lock") && at >= 9*time.Second && at < 10*time.Second {
				return d, nil
			}
			return ms, nil
		}
	}
	for _, test := range []struct {
		name               string
		mode               load.Mode
		hang               time.Duration
		errors, unfinished int64
		max                float64
	}{
		{"in time", load.Cycle, 8 * time.Second, 0, 0, 8001},
		{"too late", load.Cycle, 12 * time.Second, 2, 0, 2},
		{"too late in line", load.Handoff, 12 * time.Second, 0, 2, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				r := mustRun(t, newService(hang(test.hang)), load.Config{Mode: test.mode, Workers: 2, Duration: 10 * time.Second})
				if r.Errors != test.errors || r.Unfinished != test.unfinished {
					t.Errorf("%+v", r)
				}
				near(t, "max", r.MaxMs, test.max, 1)
				if test.errors > 0 {
					near(t, "texts", float64(len(r.ErrorTexts)), 1, 0)
				}
				if test.unfinished > 0 {
					near(t, "the oldest", r.UnfinishedOldestMs, 11000, 10)
				}
			})
		})
	}
}

// The clean-up has a time of its own, and what it could not do is told beside the
// result.
func TestCleanUpIsBounded(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newService(func(op string, at time.Duration) (time.Duration, error) {
			if op == "release" {
				return time.Hour, nil
			}
			return ms, nil
		})
		began := time.Now()
		r, err := load.Run(t.Context(), load.Config{Mode: load.Touch, Workers: 3, Duration: time.Second, Patience: 5 * time.Second}, s.dial)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "left behind") || !strings.Contains(err.Error(), "and 2 more") {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); r.Cycles == 0 || took > 7*time.Second {
			t.Errorf("after %v: %+v", took, r)
		}
	})
}

func TestDialFails(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newService(takes(ms))
		refused := errors.New("refused")
		var asked []int
		_, err := load.Run(t.Context(), load.Config{Mode: load.Poll, Workers: 3, Duration: time.Second}, func(worker int) (load.Locker, error) {
			if asked = append(asked, worker); worker == 3 {
				return nil, refused
			}
			return s.dial(worker)
		})
		if !errors.Is(err, refused) || !slices.Equal(asked, []int{0, 1, 2, 3}) {
			t.Errorf("asked for %v, then %v", asked, err)
		}
		s.left(t)
	})
}
