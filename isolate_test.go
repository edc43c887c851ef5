package sema_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
)

// half a minute, less a hundredth, less 10 ms
const goodFor = 30*time.Second - 310*time.Millisecond

func answers(statuses ...sema.Status) func(int) (sema.Info, error) {
	return func(nth int) (sema.Info, error) {
		return sema.Info{Status: statuses[nth-1], Owner: "worker-7", UpdatedAt: time.Now(), CreatedAt: time.Now(), ExpiresAt: time.Now()}, nil
	}
}

// workFor works for d and says when it is told to stop.
func workFor(s *script, d time.Duration) func(context.Context, sema.Info) (string, error) {
	return func(ctx context.Context, hold sema.Info) (string, error) {
		s.note("work")
		end := time.NewTimer(d)
		defer end.Stop()
		select {
		case <-end.C:
		case <-ctx.Done():
			s.note("stop: " + context.Cause(ctx).Error())
		}
		return fmt.Sprint("done under token ", hold.Token), nil
	}
}

func TestIsolateTriesUntilItIsAcquired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		svc.acquire = answers(sema.ForcedReleased, sema.ReleasedInTheMeanTime, sema.OwnedBySomeoneElse, sema.OwnedBySomeoneElse,
			sema.ReleasedInTheMeanTime, sema.ForcedReleased, sema.Acquired)
		var told []string
		result, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, time.Second),
			sema.IsolateOptions{Notify: func(line string) { told = append(told, line) }})
		if err != nil || result != "done under token 7" {
			t.Errorf("got %q, %v", result, err)
		}
		svc.expect(t,
			"0s acquire", "0s acquire", "0s acquire", // at once after 4 and 2
			"15s acquire",                               // and 15 s after 3
			"30s acquire", "30s acquire", "30s acquire", //
			"30s work", "31s release")
		if len(told) != 6 {
			t.Fatalf("told %d times, want once for each that was not acquired: %q", len(told), told)
		}
		for i, want := range []string{"left by worker-7", "released in the meantime", "held by worker-7", "next try in 15s"} {
			if line := told[min(i, 3)]; !strings.Contains(line, want) || !strings.Contains(line, `"job"`) || strings.Contains(line, "\n") {
				t.Errorf("told %q, want one line with the name and %q", line, want)
			}
		}
	})
}

func TestIsolateSleepsAsLongAsItIsToldTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		svc.acquire = answers(sema.OwnedBySomeoneElse, sema.OwnedBySomeoneElse, sema.Acquired)
		_, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, 0), sema.IsolateOptions{SleepBetweenAttempts: 40 * time.Millisecond})
		if err != nil {
			t.Error(err)
		}
		svc.expect(t, "0s acquire", "40ms acquire", "80ms acquire", "80ms work", "80ms release")
	})
}

func TestIsolateTouchesThreeTimesPerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		if _, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, 65*time.Second), sema.IsolateOptions{}); err != nil {
			t.Error(err)
		}
		svc.expect(t, "0s acquire", "0s work", "10s touch", "20s touch", "30s touch", "40s touch", "50s touch", "1m0s touch", "1m5s release")
	})
}

func TestIsolateTellsWorkThatTheHoldIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		svc.touch = func(_ context.Context, nth int) error {
			if nth == 2 {
				return fmt.Errorf("touch: %w", sema.ErrNotHeld)
			}
			return nil
		}
		result, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, time.Hour), sema.IsolateOptions{})
		if !errors.Is(err, sema.ErrLost) || result != "done under token 1" {
			t.Errorf("got %q, %v, want the result and ErrLost", result, err)
		}
		svc.expect(t, "0s acquire", "0s work", "10s touch", "20s touch", "20s stop: sema: hold lost", "20s release")
	})
}

// silent is a service that never answers a touch.
func silent(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestIsolateGivesUpASilentServiceInTime(t *testing.T) {
	for _, tc := range []struct {
		what     string
		answered int // touches that are answered before the silence
		lost     time.Duration
	}{
		{"never touched", 0, goodFor},
		{"touched twice", 2, 20*time.Second + goodFor},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newScript()
				svc.touch = func(ctx context.Context, nth int) error {
					if nth <= tc.answered {
						return nil
					}
					return silent(ctx)
				}
				var lost time.Duration
				_, err := sema.Isolate(t.Context(), svc, "job", "me", func(ctx context.Context, _ sema.Info) (int, error) {
					<-ctx.Done()
					lost = time.Since(svc.start)
					return 0, context.Cause(ctx)
				}, sema.IsolateOptions{})
				if err != sema.ErrLost { // not joined to itself
					t.Errorf("got %v, want ErrLost", err)
				}
				if lost != tc.lost {
					t.Errorf("told after %v, want %v", lost, tc.lost)
				}
			})
		})
	}
}

func TestIsolateCountsFromBeforeTheAcquireWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		svc.acquire = func(int) (sema.Info, error) {
			time.Sleep(4 * time.Second) // virtual: the answer takes its time
			return sema.Info{Status: sema.Acquired}, nil
		}
		svc.touch = func(ctx context.Context, _ int) error { return silent(ctx) }
		_, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, time.Hour), sema.IsolateOptions{})
		if !errors.Is(err, sema.ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
		svc.expect(t, "0s acquire", "4s work", "14s touch", "29.69s stop: sema: hold lost", "29.69s release")
	})
}

func TestIsolateRefreshesAHoldThatTookLong(t *testing.T) {
	slow := func(int) (sema.Info, error) {
		time.Sleep(25 * time.Second) // virtual: waiting for a leader
		return sema.Info{Status: sema.Acquired}, nil
	}
	for _, tc := range []struct {
		what  string
		touch func(ctx context.Context, nth int) error
		want  []string
	}{
		{"and works its full time", nil,
			[]string{"0s acquire", "25s touch", "25s work", "35s touch", "45s touch", "50s release"}},
		{"and begins again if it is gone", func(_ context.Context, nth int) error {
			if nth == 1 {
				return sema.ErrNotHeld
			}
			return nil
		}, []string{"0s acquire", "25s touch", "25s acquire", "50s touch", "50s work", "1m0s touch", "1m10s touch", "1m15s release"}},
		{"and keeps its old deadline if nobody answers", func(ctx context.Context, nth int) error {
			if nth == 1 {
				return sema.ErrOverloaded
			}
			return silent(ctx)
		}, []string{"0s acquire", "25s touch", "25s work", "29.69s stop: sema: hold lost", "29.69s release"}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newScript()
				svc.acquire, svc.touch = slow, tc.touch
				_, _ = sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, 25*time.Second), sema.IsolateOptions{})
				svc.expect(t, tc.want...)
			})
		})
	}
}

func TestIsolateLateAnswerNeverRevivesALostHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		svc.touch = func(context.Context, int) error {
			time.Sleep(25 * time.Second) // virtual; answers at 35 s, deaf to its context
			svc.note("answer")
			return nil
		}
		_, err := sema.Isolate(t.Context(), svc, "job", "me", func(ctx context.Context, _ sema.Info) (int, error) {
			<-ctx.Done()
			svc.note("stop: " + context.Cause(ctx).Error())
			time.Sleep(time.Minute) // virtual: works on all the same
			return 0, nil
		}, sema.IsolateOptions{})
		if !errors.Is(err, sema.ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
		svc.expect(t, "0s acquire", "10s touch", "29.69s stop: sema: hold lost", "35s answer", "1m29.69s release")
	})
}

func TestIsolateTriesToTouchUntilTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		svc.touch = func(_ context.Context, nth int) error {
			if nth >= 2 && nth <= 6 {
				return sema.ErrOverloaded
			}
			return nil
		}
		if _, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, 30*time.Second), sema.IsolateOptions{}); err != nil {
			t.Error(err)
		}
		svc.expect(t, "0s acquire", "0s work", "10s touch",
			"20s touch", "21.5s touch", "23s touch", "24.5s touch", "26s touch", "27.5s touch", // refused five times, then not
			"30s release")
	})
}

// Whatever touches do, the work's context is over by the local deadline, and not
// long before it.
func TestIsolateNeverTellsLate(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				timeout := sema.MinTimeout + time.Duration(random.Int64N(int64(time.Minute)))
				good := timeout - sema.DriftMargin(timeout)
				svc := newScript()
				deadline := svc.start.Add(good) // as the last answer has it
				svc.touch = func(ctx context.Context, _ int) error {
					sent := time.Now()
					time.Sleep(time.Duration(random.Int64N(int64(timeout / 2)))) // virtual; may overrun ctx
					switch {
					case random.IntN(3) == 0:
						return sema.ErrOverloaded
					case time.Now().Before(deadline):
						deadline = sent.Add(good)
					}
					return nil
				}
				_, err := sema.Isolate(t.Context(), svc, "job", "me", func(ctx context.Context, _ sema.Info) (int, error) {
					<-ctx.Done()
					if late := time.Since(deadline); late != 0 {
						t.Errorf("told %v after the deadline", late)
					}
					return 0, nil
				}, sema.IsolateOptions{Timeout: timeout})
				if !errors.Is(err, sema.ErrLost) {
					t.Errorf("got %v, want ErrLost", err)
				}
			})
		})
	}
}

func TestIsolateReleasesAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		func() {
			defer func() {
				if r := recover(); r != "as it happens" {
					t.Errorf("recovered %v", r)
				}
			}()
			_, _ = sema.Isolate(t.Context(), svc, "job", "me", func(context.Context, sema.Info) (int, error) { panic("as it happens") }, sema.IsolateOptions{})
		}()
		svc.expect(t, "0s acquire", "0s release")
	})
}

func TestIsolateReleasesAfterItsContextEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		svc.release = func(ctx context.Context, _ int) error {
			deadline, ok := ctx.Deadline()
			if left := time.Until(deadline); ctx.Err() != nil || !ok || left != 10*time.Second {
				t.Errorf("released with a context that has %v left (%v)", left, ctx.Err())
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := sema.Isolate(ctx, svc, "job", "me", func(ctx context.Context, _ sema.Info) (int, error) {
			<-ctx.Done()
			svc.note("stop: " + context.Cause(ctx).Error())
			time.Sleep(8 * time.Second) // virtual: winds down, and is touched meanwhile
			return 0, ctx.Err()
		}, sema.IsolateOptions{})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sema.ErrLost) {
			t.Errorf("got %v, want work's own error", err)
		}
		svc.expect(t, "0s acquire", "5s stop: context deadline exceeded", "10s touch", "13s release")
	})
}

func TestIsolateStopsWaitingWithItsContext(t *testing.T) {
	for _, status := range []sema.Status{sema.OwnedBySomeoneElse, sema.ForcedReleased, sema.ReleasedInTheMeanTime} {
		t.Run(status.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newScript()
				ctx, cancel := context.WithCancelCause(t.Context())
				why := errors.New("no longer wanted")
				svc.acquire = func(nth int) (sema.Info, error) {
					if nth == 2 {
						time.AfterFunc(time.Second, func() { cancel(why) })
						time.Sleep(2 * time.Second) // virtual
					}
					return sema.Info{Status: status}, nil
				}
				_, err := sema.Isolate(ctx, svc, "job", "me", workFor(svc, 0), sema.IsolateOptions{})
				if !errors.Is(err, why) || !strings.Contains(err.Error(), `"job"`) {
					t.Errorf("got %v, want the cause and the name", err)
				}
				if svc.count["acquire"] != 2 || svc.count["work"] != 0 || svc.count["release"] != 0 {
					t.Errorf("calls: %v", svc.count)
				}
			})
		})
	}
}

func TestIsolateUndoesAnAcquireOfUnknownOutcome(t *testing.T) {
	unknown := func(int) (sema.Info, error) {
		return sema.Info{}, &sema.OutcomeUnknownError{Cause: context.DeadlineExceeded}
	}
	t.Run("and says so", func(t *testing.T) {
		svc := newScript()
		svc.acquire = unknown
		_, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, 0), sema.IsolateOptions{})
		if !errors.Is(err, sema.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if svc.count["release"] != 1 || svc.count["work"] != 0 {
			t.Errorf("calls: %v", svc.count)
		}
	})
	t.Run("or says that it could not", func(t *testing.T) {
		svc := newScript()
		svc.acquire = unknown
		svc.release = func(context.Context, int) error { return sema.ErrNoLeader }
		_, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc, 0), sema.IsolateOptions{})
		if !errors.Is(err, sema.ErrOutcomeUnknown) || !errors.Is(err, sema.ErrNoLeader) {
			t.Errorf("got %v", err)
		}
	})
}

func TestIsolateErrors(t *testing.T) {
	own := errors.New("work's own")
	for _, tc := range []struct {
		what     string
		prepare  func(*script)
		want     []error
		wantNot  []error
		told     string
		released int
	}{
		{"work's own error", func(*script) {}, []error{own}, []error{sema.ErrLost}, "", 1},
		{"found lost by the release", func(s *script) {
			s.release = func(context.Context, int) error { return sema.ErrNotHeld }
		}, []error{own, sema.ErrLost}, nil, "", 1},
		{"release failed", func(s *script) {
			s.release = func(context.Context, int) error { return sema.ErrNoLeader }
		}, []error{own}, []error{sema.ErrLost, sema.ErrNoLeader}, "frees itself within 30s", 1},
		{"acquire failed", func(s *script) {
			s.acquire = func(int) (sema.Info, error) { return sema.Info{}, sema.ErrNoLeader }
		}, []error{sema.ErrNoLeader}, []error{own}, "", 0},
		{"a status from the future", func(s *script) { s.acquire = answers(sema.Status(9)) }, nil, []error{own}, "", 0},
	} {
		t.Run(tc.what, func(t *testing.T) {
			svc := newScript()
			tc.prepare(svc)
			told := ""
			_, err := sema.Isolate(t.Context(), svc, "job", "me", func(context.Context, sema.Info) (int, error) { return 0, own },
				sema.IsolateOptions{Notify: func(line string) { told += line }})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !errors.Is(err, want) {
					t.Errorf("%v does not match %v", err, want)
				}
			}
			for _, not := range tc.wantNot {
				if errors.Is(err, not) {
					t.Errorf("%v matches %v", err, not)
				}
			}
			if !strings.Contains(told, tc.told) || svc.count["release"] != tc.released {
				t.Errorf("told %q, released %d times", told, svc.count["release"])
			}
		})
	}
}

func TestIsolateChecksBeforeItSends(t *testing.T) {
	svc := newScript()
	_, err := sema.Isolate(t.Context(), svc, "", "\n", workFor(svc, 0), sema.IsolateOptions{Timeout: time.Millisecond, SleepBetweenAttempts: -1})
	if faults := invalid(err); len(faults) != 4 {
		t.Errorf("got %v, want four faults", err)
	}
	svc.expect(t)
}

// forking hands out forks and must not be used itself.
type forking struct {
	sema.Service
	fork sema.Service
}

func (f forking) Fork() sema.Service { return f.fork }

func TestIsolateKeepsItsHoldToItself(t *testing.T) {
	fork := newScript()
	if _, err := sema.Isolate(t.Context(), forking{fork: fork}, "job", "me", workFor(fork, 0), sema.IsolateOptions{}); err != nil {
		t.Error(err)
	}
	if fork.count["acquire"] != 1 || fork.count["release"] != 1 {
		t.Errorf("calls of the fork: %v", fork.count)
	}
}

// A Service has one hold by a name. If that is not the one that the work has any
// more, touching it would keep somebody else's alive.
func TestIsolateDoesNotLiveOnAnotherHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newScript()
		work := func(ctx context.Context, hold sema.Info) (int, error) {
			svc.mu.Lock()
			svc.token = hold.Token + 1 // somebody acquired it through the same Service
			svc.mu.Unlock()
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}
		_, err := sema.Isolate(t.Context(), svc, "job", "me", work, sema.IsolateOptions{Timeout: 3 * time.Second})
		if !errors.Is(err, sema.ErrLost) {
			t.Fatalf("it lived on another hold: %v", err)
		}
		if took := time.Since(svc.start); took != time.Second {
			t.Fatalf("it learned of it after %v", took)
		}
	})
}
