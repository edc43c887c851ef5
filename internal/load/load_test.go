package load_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/internal/load"
)

const ms = time.Millisecond

// What each mode does, with calls of a millisecond.
func TestModes(t *testing.T) {
	const workers, seconds = 4, 10
	for _, test := range []struct {
		mode      load.Mode
		perSecond float64
		p50       float64
		calls     map[string]float64 // per unit
	}{
		{load.Cycle, workers * 500, 2, map[string]float64{"acquire": 1, "release": 1}},
		{load.Poll, workers * 1000, 1, map[string]float64{"acquire": 1}},
		{load.Touch, workers * 1000, 1, map[string]float64{"touch": 1}},
		{load.Mixed, workers * 10 / 0.014, 1, map[string]float64{"acquire": 0.6, "release": 0.4, "touch": 0.3, "get": 0.1}},
		// Only the release keeps the others waiting: they ask while they wait.
		{load.Handoff, 1000, workers - 1, map[string]float64{"lock": 1, "release": 1}},
	} {
		t.Run(string(test.mode), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s := newService(takes(ms))
				r := mustRun(t, s, load.Config{Mode: test.mode, Workers: workers, Duration: seconds * time.Second})
				near(t, "cycles per second", r.CyclesPerSecond, test.perSecond, test.perSecond/100)
				near(t, "cycles", float64(r.Cycles), test.perSecond*seconds, test.perSecond*seconds/100)
				near(t, "p50", r.P50Ms, test.p50, 0.01)
				if r.Errors != 0 || r.Unfinished != 0 || r.Seconds != seconds || r.Workers != workers || r.Mode != test.mode {
					t.Errorf("%+v", r)
				}
				for _, op := range []string{"acquire", "release", "touch", "get", "lock"} {
					near(t, op+" calls per unit", float64(s.calls[op])/float64(r.Cycles), test.calls[op], 0.01)
				}
			})
		})
	}
}

// A target that stands still for a second. With a rate every unit that was due in
// that second counts from when it was due; without one it is a bad value per worker,
// and a hundredth of all units are not late at all.
func TestAStallShowsAgainstARate(t *testing.T) {
	stall := func(_ string, at time.Duration) (time.Duration, error) {
		if second := 5 * time.Second; at >= second && at < second+time.Second {
			return second + time.Second - at, nil
		}
		return ms, nil
	}
	inTime(t, func(t *testing.T) {
		r := mustRun(t, newService(stall), load.Config{Mode: load.Cycle, Workers: 4, Duration: 10 * time.Second, Rate: 100})
		near(t, "p50", r.P50Ms, 2, 0.01)
		near(t, "p99", r.P99Ms, 900, 20) // of 1,000 units 100 were due during the stall, evenly
		near(t, "max", r.MaxMs, 1000, 10)
		near(t, "cycles", float64(r.Cycles), 1000, 1)
		if r.Errors != 0 || r.Unfinished != 0 || r.Rate != 100 {
			t.Errorf("%+v", r)
		}
	})
	inTime(t, func(t *testing.T) {
		r := mustRun(t, newService(stall), load.Config{Mode: load.Cycle, Workers: 4, Duration: 10 * time.Second})
		near(t, "p99 without a rate", r.P99Ms, 2, 0.01)
		near(t, "max without a rate", r.MaxMs, 1000, 10)
	})
}

// More is asked for than there is: the backlog grows, its lateness counts, and what
// is left of it in the end is told.
func TestABacklogIsTold(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := mustRun(t, newService(takes(10*ms)), load.Config{Mode: load.Cycle, Workers: 1, Duration: 10 * time.Second, Rate: 100})
		near(t, "cycles per second", r.CyclesPerSecond, 50, 0.2)
		near(t, "max", r.MaxMs, 5000, 30)
		near(t, "p50", r.P50Ms, 2500, 30)
		near(t, "unfinished", float64(r.Unfinished), 500, 1)
		near(t, "the oldest of them", r.UnfinishedOldestMs, 5000, 30)
		if r.Errors != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// The window counts only what began, or was due, in it. A backlog of the warm-up does
// not delay it.
func TestTheWarmupDoesNotCount(t *testing.T) {
	cold := func(_ string, at time.Duration) (time.Duration, error) {
		switch {
		case at < 2900*ms:
			return 100 * ms, nil
		case at < 2950*ms:
			return ms, errors.New("cold")
		}
		return ms, nil
	}
	for _, rate := range []float64{0, 100} {
		t.Run(fmt.Sprint("rate ", rate), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				r := mustRun(t, newService(cold), load.Config{Mode: load.Cycle, Workers: 100, Rate: rate,
					Warmup: 3 * time.Second, Duration: 2 * time.Second})
				if r.MaxMs > 3.01 || // two calls, and a release of what an error left
					r.Errors != 0 || len(r.ErrorTexts) != 0 || r.Seconds != 2 {
					t.Errorf("%+v", r)
				}
				if want := 100 * 1000.0; rate == 0 {
					near(t, "cycles", float64(r.Cycles), want, want/5) // some rest after their errors
				} else {
					near(t, "cycles", float64(r.Cycles), 200, 1)
				}
			})
		})
	}
}

// More is asked for than there is, from the start: the latency is that of the window.
func TestABacklogOfTheWarmupIsDropped(t *testing.T) {
	inTime(t, func(t *testing.T) {
		r := mustRun(t, newService(takes(10*ms)), load.Config{Mode: load.Cycle, Workers: 1, Rate: 1000, Warmup: 10 * time.Second, Duration: 2 * time.Second})
		near(t, "cycles", float64(r.Cycles), 100, 1)
		near(t, "samples", float64(r.Samples), 100, 2)
		near(t, "p50", r.P50Ms, 970, 30)
		near(t, "unfinished", float64(r.Unfinished), 1900, 3)
	})
}

func TestErrorsCountApart(t *testing.T) {
	inTime(t, func(t *testing.T) {
		acquires := 0
		s := newService(func(op string, _ time.Duration) (time.Duration, error) {
			if op == "acquire" {
				acquires++
			}
			if op == "acquire" && acquires%10 == 0 {
				return 500 * ms, fmt.Errorf("broken in way %d", acquires%4)
			}
			return ms, nil
		})
		r := mustRun(t, s, load.Config{Mode: load.Cycle, Workers: 1, Duration: 10 * time.Second, Rate: 10})
		if r.Errors != 10 || r.Cycles+r.Errors != 100 || r.Samples != r.Cycles {
			t.Errorf("of 100 units: %+v", r)
		}
		if want := []string{"acquire: broken in way 2", "acquire: broken in way 0"}; !slices.Equal(r.ErrorTexts, want) {
			t.Errorf("texts %q, want %q", r.ErrorTexts, want)
		}
	})
}

// A service that is gone is asked less and less often.
func TestWorkersRestAfterErrors(t *testing.T) {
	inTime(t, func(t *testing.T) {
		gone := errors.New("connection refused")
		s := newService(func(op string, at time.Duration) (time.Duration, error) {
			if at < time.Second {
				return ms, nil
			}
			return 0, gone
		})
		r, err := load.Run(t.Context(), load.Config{Mode: load.Cycle, Workers: 2, Duration: 10 * time.Second}, s.dial)
		if !errors.Is(err, gone) || !strings.Contains(err.Error(), "left behind") {
			t.Errorf("the clean-up fails with %v", err)
		}
		if r.Errors < 2*18 || r.Errors > 2*40 || r.Cycles < 990 {
			t.Errorf("%+v", r)
		}
	})
}

func TestUnsupported(t *testing.T) {
	for mode, op := range map[load.Mode]string{load.Cycle: "acquire", load.Handoff: "lock", load.Poll: "acquire", load.Touch: "touch", load.Mixed: "get"} {
		t.Run(string(mode), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				s := newService(func(called string, _ time.Duration) (time.Duration, error) {
					if called == op {
						return 0, errors.ErrUnsupported
					}
					return ms, nil
				})
				_, err := load.Run(t.Context(), load.Config{Mode: mode, Workers: 3, Duration: time.Hour}, s.dial)
				want := fmt.Sprintf("mode %s cannot be run here", mode)
				if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), op+":") {
					t.Errorf("%v, want %q and %q", err, want, op)
				}
				s.left(t)
			})
		})
	}
}

// Without locks that are kept alive, what is polled is held by a plain acquire.
func TestPollWithoutLocks(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newService(func(op string, _ time.Duration) (time.Duration, error) {
			if op == "lock" {
				return 0, errors.ErrUnsupported
			}
			return ms, nil
		})
		if r := mustRun(t, s, load.Config{Mode: load.Poll, Workers: 1, Duration: time.Second}); r.Errors != 0 || r.Cycles != 999 && r.Cycles != 1000 {
			t.Errorf("%+v", r)
		}
	})
}

// A poll that is not refused is an error: nothing was polled.
func TestPollThatAcquires(t *testing.T) {
	inTime(t, func(t *testing.T) {
		var s *service
		s = newService(func(_ string, at time.Duration) (time.Duration, error) {
			if at > time.Second {
				s.lose()
			}
			return ms, nil
		})
		r := mustRun(t, s, load.Config{Mode: load.Poll, Workers: 1, Duration: 2 * time.Second})
		if r.Errors == 0 || len(r.ErrorTexts) != 1 || !strings.Contains(r.ErrorTexts[0], "acquired what somebody else holds") {
			t.Errorf("%+v", r)
		}
	})
}

// A hold that was lost is acquired again: one error, and on it goes.
func TestTouchAfterALoss(t *testing.T) {
	inTime(t, func(t *testing.T) {
		var s *service
		lost := false
		s = newService(func(_ string, at time.Duration) (time.Duration, error) {
			if at > time.Second && !lost {
				lost = true
				s.lose()
			}
			return ms, nil
		})
		r := mustRun(t, s, load.Config{Mode: load.Touch, Workers: 1, Duration: 2 * time.Second})
		if r.Errors != 1 || r.Cycles < 1990 {
			t.Errorf("%+v", r)
		}
	})
}

// A release that fails leaves a hold, which the next unit or the clean-up ends.
func TestWhatAnErrorLeavesIsReleased(t *testing.T) {
	for _, mode := range load.Modes() {
		t.Run(string(mode), func(t *testing.T) {
			inTime(t, func(t *testing.T) {
				n := 0
				s := newService(func(op string, at time.Duration) (time.Duration, error) {
					if n++; n%7 == 0 && at > 10*ms && at < time.Second {
						return ms, errors.New("hiccup")
					}
					return ms, nil
				})
				r := mustRun(t, s, load.Config{Mode: mode, Workers: 3, Duration: time.Second})
				if r.Errors == 0 || r.Cycles == 0 {
					t.Errorf("%+v", r)
				}
				for _, text := range r.ErrorTexts {
					if !strings.Contains(text, "hiccup") {
						t.Errorf("error %q", text)
					}
				}
			})
		})
	}
}

func TestProgress(t *testing.T) {
	inTime(t, func(t *testing.T) {
		var told []load.Progress
		mustRun(t, newService(takes(10*ms)), load.Config{Mode: load.Cycle, Workers: 1, Rate: 100,
			Warmup: 1500 * ms, Duration: 2 * time.Second, Progress: func(p load.Progress) { told = append(told, p) }})
		if len(told) != 3 {
			t.Fatalf("told %d times", len(told))
		}
		for i, p := range told {
			near(t, "elapsed", p.Elapsed.Seconds(), float64(i+1), 0.01)
			near(t, "per second", p.PerSecond, 50, 1)
			near(t, "cycles", float64(p.Cycles), float64(50*(i+1)), 1)
			near(t, "backlog", float64(p.Backlog), []float64{50, 25, 75}[i], 2) // that of the warm-up is dropped
			if p.Warmup != (i == 0) || p.Errors != 0 {
				t.Errorf("%+v", p)
			}
		}
	})
}

func TestNames(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newService(takes(ms))
		mustRun(t, s, load.Config{Mode: load.Mixed, Workers: 2, Duration: time.Second, Prefix: "p"})
		for _, name := range []string{"p/0", "p/1", "p/0/kept", "p/1/kept", "p/shared"} {
			if !s.names[name] {
				t.Errorf("%q was not used, but %v", name, s.names)
			}
		}
		if len(s.names) != 5 {
			t.Errorf("used %v", s.names)
		}
	})
	if a, b := load.NewPrefix(), load.NewPrefix(); a == b || !strings.HasPrefix(a, "bench/") {
		t.Errorf("prefixes %q and %q", a, b)
	}
}

// Scripts read these fields in this form.
func TestResultAsJSON(t *testing.T) {
	text, err := json.Marshal(load.Result{Mode: load.Poll, Workers: 3, ErrorTexts: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"cyclesPerSecond":0,"p50Ms":0,"p99Ms":0,"maxMs":0,"errors":0,"workers":3,"mode":"poll",` +
		`"rate":0,"seconds":0,"cycles":0,"samples":0,"unfinished":0,"unfinishedOldestMs":0,"errorTexts":[]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
