package sema_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
)

// lineScript is a script with a line to wait in. What it says of the holds that it
// grants is what script says.
type lineScript struct {
	*script
	wait func(ctx context.Context, nth int, told func(sema.Place)) error
}

func newLineScript(wait func(ctx context.Context, nth int, told func(sema.Place)) error) lineScript {
	return lineScript{newScript(), wait}
}

func (s lineScript) AcquireWait(ctx context.Context, name, owner string, timeout time.Duration, told func(sema.Place)) (sema.Info, error) {
	nth := s.note("wait")
	if err := s.wait(ctx, nth, told); err != nil {
		return sema.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = uint64(nth)
	return sema.Info{Status: sema.Acquired, Name: name, Owner: owner, Timeout: timeout, Token: s.token}, nil
}

// grantAfter is a wait that is granted after d, without a word.
func grantAfter(d time.Duration) func(context.Context, int, func(sema.Place)) error {
	return func(ctx context.Context, _ int, _ func(sema.Place)) error { return stand(ctx, d) }
}

// stand stands in line for d of virtual time.
func stand(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// place is the nth in a line, behind worker-7, who has held since noon or so.
func place(nth int) sema.Place {
	return sema.Place{Position: nth, Holder: sema.Info{Owner: "worker-7", CreatedAt: time.Date(2000, 1, 1, 12, 34, 56, 0, time.UTC)}}
}

// notes is a Notify that writes down what it is told, and when.
func notes(s *script) sema.IsolateOptions {
	return sema.IsolateOptions{Notify: func(line string) { s.note("told: " + line) }}
}

// Every story here is told in a bubble, which fails if a goroutine stays behind.

func TestIsolateWaitsInLineAndTellsHowItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newLineScript(func(ctx context.Context, _ int, told func(sema.Place)) error {
			_ = stand(ctx, time.Second)
			told(place(3))
			_ = stand(ctx, time.Second)
			told(place(2)) // is told when it is time
			_ = stand(ctx, 30*time.Second)
			told(place(1))
			return stand(ctx, 18*time.Second)
		})
		result, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc.script, time.Second), notes(svc.script))
		if err != nil || result != "done under token 1" {
			t.Errorf("got %q, %v", result, err)
		}
		line := `told: "job" is held by worker-7 since 12:34:56Z; waiting in line, number `
		svc.expect(t, "0s wait", "1s "+line+"3", "15s "+line+"2", "30s "+line+"2", "45s "+line+"1",
			"50s touch", "50s work", "51s release")
	})
}

func TestIsolateTellsAsOftenAsItIsAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newLineScript(grantAfter(3500 * time.Millisecond)) // and nothing is known of the line
		opts := notes(svc.script)
		opts.SleepBetweenAttempts = time.Second
		if _, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc.script, 0), opts); err != nil {
			t.Error(err)
		}
		still := `told: still waiting for "job"`
		svc.expect(t, "0s wait", "1s "+still, "2s "+still, "3s "+still, "3.5s work", "3.5s release")
	})
}

func TestIsolateWithoutALineToWaitInPolls(t *testing.T) {
	for what, hide := range map[string]func(lineScript) sema.Service{
		"a plain service":                func(s lineScript) sema.Service { return struct{ sema.Service }{s} },
		"one whose fork cannot wait":     func(s lineScript) sema.Service { return forking{s, s.script} },
		"one whose fork is plain itself": func(s lineScript) sema.Service { return forking{nil, s.script} },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newLineScript(nil)
				svc.acquire = answers(sema.OwnedBySomeoneElse, sema.OwnedBySomeoneElse, sema.Acquired)
				if _, err := sema.Isolate(t.Context(), hide(svc), "job", "me", workFor(svc.script, 0), sema.IsolateOptions{}); err != nil {
					t.Error(err)
				}
				svc.expect(t, "0s acquire", "15s acquire", "30s acquire", "30s work", "30s release")
			})
		})
	}
}

func TestIsolateWaitsWithItsOwnFork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fork := newLineScript(grantAfter(0))
		if _, err := sema.Isolate(t.Context(), forking{fork: fork}, "job", "me", workFor(fork.script, 0), sema.IsolateOptions{}); err != nil {
			t.Error(err)
		}
		fork.expect(t, "0s wait", "0s work", "0s release")
	})
}

// The hold may have been granted as early as the wait began.
func TestIsolateCountsFromBeforeTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newLineScript(grantAfter(4 * time.Second))
		svc.touch = func(ctx context.Context, _ int) error { return silent(ctx) }
		_, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc.script, time.Hour), sema.IsolateOptions{})
		if !errors.Is(err, sema.ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
		svc.expect(t, "0s wait", "4s work", "14s touch", "29.69s stop: sema: hold lost", "29.69s release")
	})
}

// And so one that was granted after a long wait is touched before any work, and
// its time counts from that touch.
func TestIsolateTouchesAHoldThatWasWaitedForLong(t *testing.T) {
	for _, tc := range []struct {
		what  string
		waits time.Duration
		touch func(ctx context.Context, nth int) error
		want  []string
	}{
		{"and counts from there", time.Hour, func(ctx context.Context, nth int) error {
			if nth > 1 {
				return silent(ctx)
			}
			return stand(ctx, 5*time.Second)
		}, []string{"0s wait", "1h0m0s touch", "1h0m5s work", "1h0m15s touch", "1h0m29.69s stop: sema: hold lost", "1h0m29.69s release"}},
		{"and waits again if it is gone", time.Hour, func(_ context.Context, nth int) error {
			if nth == 1 {
				return fmt.Errorf("touch: %w", sema.ErrNotHeld)
			}
			return nil
		}, []string{"0s wait", "1h0m0s touch", `1h0m0s told: "job" was acquired and lost before the answer came; waiting again`,
			"1h0m0s wait", "2h0m0s touch", "2h0m0s work", "2h0m10s touch", "2h0m20s touch", "2h0m25s release"}},
		{"and keeps what is left of its time if nobody answers", 20 * time.Second, func(ctx context.Context, nth int) error {
			if nth == 1 {
				return sema.ErrOverloaded
			}
			return silent(ctx)
		}, []string{"0s wait", "20s touch", "20s work", "29.69s stop: sema: hold lost", "29.69s release"}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newLineScript(grantAfter(tc.waits))
				svc.touch = tc.touch
				opts := notes(svc.script)
				opts.SleepBetweenAttempts = 24 * time.Hour // not of interest here
				_, _ = sema.Isolate(t.Context(), svc, "job", "me", workFor(svc.script, 25*time.Second), opts)
				svc.expect(t, tc.want...)
			})
		})
	}
}

// If there is no time left either, nobody knows whether the hold stands: no work
// begins, and the hold is given back.
func TestIsolateDoesNotWorkUnderAHoldOfUnknownAge(t *testing.T) {
	for _, tc := range []struct {
		what    string
		release error
		want    []error
	}{
		{"and gives it back", nil, []error{sema.ErrOverloaded}},
		{"which was gone", sema.ErrNotHeld, []error{sema.ErrOverloaded}},
		{"or says that it could not", sema.ErrNoLeader, []error{sema.ErrOverloaded, sema.ErrNoLeader}},
	} {
		for _, how := range []string{"wait", "acquire"} {
			t.Run(how+" "+tc.what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					svc := newLineScript(grantAfter(time.Hour))
					svc.acquire = func(int) (sema.Info, error) {
						time.Sleep(time.Hour) // virtual: no leader for long
						return sema.Info{Status: sema.Acquired}, nil
					}
					svc.touch = func(context.Context, int) error { return sema.ErrOverloaded }
					svc.release = func(context.Context, int) error { return tc.release }
					used := sema.Service(svc)
					if how == "acquire" {
						used = svc.script
					}
					_, err := sema.Isolate(t.Context(), used, "job", "me", workFor(svc.script, 0), sema.IsolateOptions{})
					for _, want := range tc.want {
						if !errors.Is(err, want) {
							t.Errorf("%v does not match %v", err, want)
						}
					}
					if errors.Is(err, sema.ErrNotHeld) || !strings.Contains(fmt.Sprint(err), `"job"`) {
						t.Errorf("got %v", err)
					}
					svc.expect(t, "0s "+how, "1h0m0s touch", "1h0m0s release")
				})
			})
		}
	}
}

func TestIsolateLeavesTheLineWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newLineScript(grantAfter(time.Hour))
		why := errors.New("no longer wanted")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Second, func() { cancel(why) })
		_, err := sema.Isolate(ctx, svc, "job", "me", workFor(svc.script, 0), sema.IsolateOptions{})
		if !errors.Is(err, why) || !strings.Contains(err.Error(), `"job"`) {
			t.Errorf("got %v, want the cause and the name", err)
		}
		if took := time.Since(svc.start); took != 20*time.Second {
			t.Errorf("it took %v", took)
		}
		svc.expect(t, "0s wait") // which gives its place back itself
	})
}

func TestIsolatePassesOnWhyAWaitFailed(t *testing.T) {
	for _, failure := range []error{errors.New("disk on fire"), sema.ErrNoLeader, &sema.OutcomeUnknownError{Cause: context.DeadlineExceeded}} {
		synctest.Test(t, func(t *testing.T) {
			svc := newLineScript(func(context.Context, int, func(sema.Place)) error { return failure })
			_, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc.script, 0), sema.IsolateOptions{})
			if !errors.Is(err, failure) || !strings.Contains(err.Error(), `waiting for "job"`) {
				t.Errorf("got %v, want %v and what it kept waiting", err, failure)
			}
			svc.expect(t, "0s wait")
		})
	}
}

func TestIsolateReleasesAfterAPanicUnderAHoldThatWasWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		svc := newLineScript(grantAfter(time.Second))
		func() {
			defer func() {
				if r := recover(); r != "as it happens" {
					t.Errorf("recovered %v", r)
				}
			}()
			_, _ = sema.Isolate(t.Context(), svc, "job", "me", func(context.Context, sema.Info) (int, error) { panic("as it happens") }, sema.IsolateOptions{})
		}()
		svc.expect(t, "0s wait", "1s release")
	})
}

// Notify runs on the goroutine that called Isolate: what it panics with arrives
// there. Nobody is left in line then, and no hold either.
func TestIsolateLeavesTheLineIfNotifyPanics(t *testing.T) {
	for _, tc := range []struct {
		what string
		wait func(ctx context.Context, nth int, told func(sema.Place)) error
		want []string
	}{
		{"while it waits", grantAfter(time.Hour), []string{"0s wait"}},
		{"while it is granted", func(ctx context.Context, _ int, _ func(sema.Place)) error {
			<-ctx.Done()
			return nil
		}, []string{"0s wait", "15s release"}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				svc := newLineScript(tc.wait)
				func() {
					defer func() {
						if r := recover(); r != "enough" {
							t.Errorf("recovered %v", r)
						}
					}()
					_, _ = sema.Isolate(t.Context(), svc, "job", "me", workFor(svc.script, 0), sema.IsolateOptions{Notify: func(string) { panic("enough") }})
				}()
				svc.expect(t, tc.want...)
			})
		})
	}
}

// A Waiter that has more to tell than anybody listens to is not held up by that.
func TestIsolateDoesNotHoldUpWhoTellsThePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := []string{}
		svc := newLineScript(func(_ context.Context, _ int, tell func(sema.Place)) error {
			for nth := 1000; nth > 0; nth-- {
				tell(place(nth))
			}
			time.Sleep(16 * time.Second) // virtual
			return nil
		})
		busy := func(line string) {
			told = append(told, line[strings.LastIndex(line, " ")+1:])
			time.Sleep(5 * time.Second) // virtual: slow to write it down
		}
		if _, err := sema.Isolate(t.Context(), svc, "job", "me", workFor(svc.script, 0), sema.IsolateOptions{Notify: busy}); err != nil {
			t.Error(err)
		}
		if len(told) != 2 || told[1] != "1" {
			t.Errorf("told of places %q, want one at once and the latest after 15s", told)
		}
		svc.expect(t, "0s wait", "20s touch", "20s work", "20s release")
	})
}
