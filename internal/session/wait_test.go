package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/transport"
)

// wanted is the semaphore a, by me, with a place in line.
var wanted = session.Wanted{Name: "a", Owner: "me", Timeout: timeout, Wait: true}

// answered is what became of an Obtain.
type answered struct {
	session.Granted
	err error
}

// obtain starts an Obtain and returns once nothing moves any more.
func obtain(ctx context.Context, s *session.Session, want session.Wanted) <-chan answered {
	done := make(chan answered, 1)
	go func() {
		granted, err := s.Obtain(ctx, want)
		done <- answered{granted, err}
	}()
	synctest.Wait()
	return done
}

// heldBySomebody makes another client hold the semaphore a and returns what
// releases it.
func heldBySomebody(t *testing.T, node *fakenode.Node) (release func()) {
	t.Helper()
	other := session.New(node, sema.ClientID{})
	if _, err := other.Acquire(t.Context(), "a", "somebody", timeout); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := other.Release(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	}
}

// expectSince is expect for what was sent after so many requests.
func expectSince(t *testing.T, node *fakenode.Node, from int, want ...string) {
	t.Helper()
	if got := story(node.Requests()[from:]); !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// expectHolder wants the semaphore a to be held by owner, nobody if empty, and
// nobody to wait for it.
func expectHolder(t *testing.T, node *fakenode.Node, owner string) {
	t.Helper()
	if got, line := node.Holder("a").Owner, node.Line("a"); got != owner || len(line) != 0 {
		t.Errorf("held by %q with %q in line, want %q and nobody", got, line, owner)
	}
}

// settled wants no attempt to be open: the lowest that is open is the one that was
// not given out yet, under the identity that waits and under the other.
func settled(t *testing.T, node *fakenode.Node, s *session.Session) {
	t.Helper()
	next := map[sema.ClientID]uint64{}
	note := func(a sema.Attempt) { next[a.Client] = max(next[a.Client], a.Seq+1) }
	for _, req := range node.Requests() {
		switch req := req.(type) {
		case transport.AcquireRequest:
			note(req.Attempt)
		case fakenode.Wait:
			note(req.Attempt)
		}
	}
	node.Intercept(nil)
	_ = s.Release(t.Context(), "nobody's")
	requests := node.Requests()
	plain := requests[len(requests)-1].(transport.ReleaseRequest).Attempt
	for what, a := range map[string]sema.Attempt{"waits": s.Heard(), "does not wait": plain} {
		if want := max(1, next[a.Client]); a.LowestOpen != want {
			t.Errorf("an attempt that %s is open: the lowest is %d, want %d", what, a.LowestOpen, want)
		}
	}
}

// about is whether d is what was wanted, to within what package moment tells.
func about(d, want time.Duration) bool { return (d - want).Abs() < 10*time.Millisecond }

// inBubble runs a story about one node and one session in virtual time.
func inBubble(t *testing.T, tell func(t *testing.T, node *fakenode.Node, s *session.Session)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		node := new(fakenode.Node)
		tell(t, node, session.New(node, id))
	})
}

func TestObtainOfWhatIsFree(t *testing.T) {
	for wait, sent := range map[bool]string{true: "wait a seq 1 open 1", false: "acquire a seq 1 open 1"} {
		inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
			want := wanted
			want.Wait = wait
			got := <-obtain(t.Context(), s, want)
			if got.err != nil || got.Info.Status != sema.Acquired || got.Info.Token != node.Holder("a").Token || !about(got.Sent.Elapsed(), 0) {
				t.Errorf("got %+v", got)
			}
			if _, err := s.Touch(t.Context(), "a"); err != sema.ErrNotHeld {
				t.Errorf("the session remembers the hold: %v", err)
			}
			expect(t, node, sent)
			settled(t, node, s)
		})
	}
}

func TestObtainWaitsItsTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		release := heldBySomebody(t, node)
		var places []sema.Place
		want := wanted
		want.Told = func(p sema.Place) { places = append(places, p) }
		done := obtain(t.Context(), s, want)
		if line := node.Line("a"); !slices.Equal(line, []string{"me"}) {
			t.Fatalf("in line: %q", line)
		}
		time.Sleep(5 * time.Second)
		release()
		got := <-done
		if got.err != nil || got.Info.Token != 2 || !about(got.Sent.Elapsed(), 5*time.Second) {
			t.Errorf("got %+v, sent %v ago; want token 2, and its time to count from the request", got, got.Sent.Elapsed())
		}
		if len(places) != 1 || places[0].Position != 1 || places[0].Holder.Owner != "somebody" {
			t.Errorf("told %+v", places)
		}
		expectHolder(t, node, "me")
		expectSince(t, node, 1, "wait a seq 1 open 1", "release a token 1 seq 0 open 2")
		settled(t, node, s)
	})
}

// A hold may have been granted at any time since it was asked for, so one that took
// long is touched, and its time counts from before the touch was sent.
func TestAHoldThatTookLongIsTouched(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		release := heldBySomebody(t, node)
		done := obtain(t.Context(), s, wanted)
		time.Sleep(time.Hour)
		node.Intercept(func(_ context.Context, req any, apply func() error) error {
			if _, touch := req.(transport.TouchRequest); touch {
				time.Sleep(3 * time.Second) // virtual: the answer takes its time
			}
			return apply()
		})
		release()
		got := <-done
		if got.err != nil || got.Info.Token != 2 || !about(got.Sent.Elapsed(), 3*time.Second) {
			t.Errorf("got %+v, sent %v ago, want 3s", got, got.Sent.Elapsed())
		}
		if got.Info.UpdatedAt != time.Now().UTC() {
			t.Errorf("it tells of the hold as of %v", got.Info.UpdatedAt)
		}
		expectSince(t, node, 1, "wait a seq 1 open 1", "release a token 1 seq 0 open 2", "touch a token 2 open 2")
		settled(t, node, s)
	})
}

// The first hold ends before it can be touched. The second is granted at once.
func TestAHoldThatIsGoneWhenItIsTouchedIsWaitedForAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		release := heldBySomebody(t, node)
		done := obtain(t.Context(), s, wanted)
		time.Sleep(time.Hour)
		node.Intercept(func(_ context.Context, req any, apply func() error) error {
			if _, touch := req.(transport.TouchRequest); touch {
				node.End("a")
			}
			return apply()
		})
		release()
		if got := <-done; got.err != nil || got.Info.Token != 3 || !about(got.Sent.Elapsed(), 0) {
			t.Errorf("got %+v", got)
		}
		expectSince(t, node, 1, "wait a seq 1 open 1", "release a token 1 seq 0 open 2", "touch a token 2 open 2", "wait a seq 2 open 2")
		settled(t, node, s)
	})
}

// When it was granted is not known, and touching it does not work: nobody can say
// for how long it is good.
func TestAHoldThatCannotBeTouchedIsGivenBack(t *testing.T) {
	for _, tc := range []struct {
		what    string
		touch   error
		release error // of the hold that was granted
		want    []error
		unknown bool
	}{
		{"because the node is busy", sema.ErrOverloaded, nil, []error{sema.ErrOverloaded}, false},
		{"because the answer was lost", fakenode.ErrLost, nil, nil, false},
		{"and is gone by then", sema.ErrNoLeader, sema.ErrNotHeld, []error{sema.ErrNoLeader}, false},
		{"or may not be", sema.ErrNoLeader, sema.ErrOverloaded, []error{sema.ErrNoLeader, sema.ErrOverloaded}, true},
		{"or may be", sema.ErrNoLeader, fakenode.ErrLost, []error{sema.ErrNoLeader}, true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
				release := heldBySomebody(t, node)
				done := obtain(t.Context(), s, wanted)
				time.Sleep(time.Hour)
				node.Intercept(func(_ context.Context, req any, apply func() error) error {
					switch req := req.(type) {
					case transport.TouchRequest:
						return tc.touch
					case transport.ReleaseRequest:
						if req.Token == 2 && tc.release != nil {
							return tc.release
						}
					}
					return apply()
				})
				release()
				got := <-done
				if got.err == nil || errors.Is(got.err, sema.ErrOutcomeUnknown) != tc.unknown {
					t.Errorf("got %+v, want an error, unknown %v", got, tc.unknown)
				}
				for _, want := range tc.want {
					if !errors.Is(got.err, want) {
						t.Errorf("%v does not match %v", got.err, want)
					}
				}
				if tc.release == nil {
					expectHolder(t, node, "")
				}
				expectSince(t, node, 3, "touch a token 2 open 2", "release a token 2 seq 0 open 2")
				settled(t, node, s)
			})
		})
	}
}

func TestACallerWhoLeavesWhileTheHoldIsTouched(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		release := heldBySomebody(t, node)
		ctx, leave := context.WithCancel(t.Context())
		done := obtain(ctx, s, wanted)
		time.Sleep(time.Hour)
		node.Intercept(func(ctx context.Context, req any, apply func() error) error {
			if _, touch := req.(transport.TouchRequest); touch {
				leave()
				<-ctx.Done()
			}
			if ctx.Err() != nil { // it is to be given back all the same
				return &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
			}
			return apply()
		})
		release()
		if got := <-done; !errors.Is(got.err, context.Canceled) || errors.Is(got.err, sema.ErrOutcomeUnknown) {
			t.Errorf("got %+v, want Canceled and nothing unknown", got)
		}
		expectHolder(t, node, "")
		settled(t, node, s)
	})
}

// There is nothing to give back, and nobody to wait again.
func TestACallerWhoLeavesWhileTheHoldIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		release := heldBySomebody(t, node)
		ctx, leave := context.WithCancel(t.Context())
		done := obtain(ctx, s, wanted)
		time.Sleep(time.Hour)
		node.Intercept(func(_ context.Context, req any, apply func() error) error {
			if _, touch := req.(transport.TouchRequest); touch {
				node.End("a")
				leave()
			}
			return apply()
		})
		release()
		if got := <-done; got.err != context.Canceled {
			t.Errorf("got %+v, want Canceled", got)
		}
		expectHolder(t, node, "")
		expectSince(t, node, 3, "touch a token 2 open 2")
		settled(t, node, s)
	})
}

func TestObtainThatDoesNotWait(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		heldBySomebody(t, node)
		want := wanted
		want.Wait = false
		got := <-obtain(t.Context(), s, want)
		var held *sema.HeldError
		if !errors.As(got.err, &held) || held.Info.Owner != "somebody" || held.Info.Token != 1 || held.Cause != nil {
			t.Errorf("got %+v, want a HeldError that tells who", got)
		}
		expectHolder(t, node, "somebody")
		expectSince(t, node, 1, "acquire a seq 1 open 1")
		settled(t, node, s)
	})
}

func TestNothingInvalidWaits(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	_, obtained := s.Obtain(t.Context(), session.Wanted{Name: "\n", Owner: "", Wait: true})
	_, waited := s.AcquireWait(t.Context(), "a", "me", time.Millisecond, nil)
	for _, err := range []error{obtained, waited} {
		if !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
	}
	expect(t, node)
}

func TestAcquireWaitRemembersItsHold(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		release := heldBySomebody(t, node)
		fork := s.Fork()
		var info sema.Info
		var err error
		go func() { info, err = s.AcquireWait(t.Context(), "a", "me", timeout, nil) }()
		synctest.Wait()
		time.Sleep(time.Hour) // it is its caller's to touch
		release()
		synctest.Wait()
		if err != nil || info.Status != sema.Acquired || info.Token != 2 {
			t.Fatalf("got %+v, %v", info, err)
		}
		if _, err := fork.Touch(t.Context(), "a"); err != sema.ErrNotHeld {
			t.Errorf("a fork touched it: %v", err)
		}
		if err := fork.Release(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
			t.Errorf("a fork released it: %v", err)
		}
		if touched, err := s.Touch(t.Context(), "a"); err != nil || touched.Token != 2 {
			t.Errorf("touch: %+v, %v", touched, err)
		}
		if got, err := s.Get(t.Context(), "a"); err != nil || got.Status != sema.Acquired {
			t.Errorf("get: %+v, %v", got, err)
		}
		if err := s.Release(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		expectHolder(t, node, "")
		expectSince(t, node, 1, "wait a seq 1 open 1", "release a token 1 seq 0 open 2", "release a token 0 seq 0 open 1",
			"touch a token 2 open 2", "get a", "release a token 2 seq 0 open 2")
		settled(t, node, s)
	})
}

// A fork is no new client, in line as elsewhere.
func TestForksWaitUnderOneIdentity(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		for i, svc := range []sema.Service{s, s.Fork(), s.Fork()} {
			if _, err := svc.(sema.Waiter).AcquireWait(t.Context(), fmt.Sprint("n", i), "me", timeout, nil); err != nil {
				t.Fatal(err)
			}
			a := node.Requests()[i].(fakenode.Wait).Attempt
			if a != (sema.Attempt{Client: s.Heard().Client, Seq: uint64(i + 1), LowestOpen: uint64(i + 1)}) {
				t.Errorf("wait %d was attempt %+v", i, a)
			}
		}
	})
}

// It would wait for itself.
func TestAcquireWaitUndoesAnAcquireOfUnknownOutcomeFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		lose(node, 1)
		if _, err := s.Acquire(t.Context(), "a", "me", timeout); !errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
		answer(node, sema.ErrNoLeader)
		if _, err := s.AcquireWait(t.Context(), "a", "me", timeout, nil); !errors.Is(err, sema.ErrNoLeader) {
			t.Errorf("it could not be undone: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if info, err := s.AcquireWait(ctx, "a", "me", timeout, nil); err != nil || info.Token != 2 {
			t.Errorf("got %+v, %v, want a hold of its own", info, err)
		}
		expect(t, node, "acquire a seq 1 open 1", "release a token 0 seq 1 open 1", "release a token 0 seq 1 open 1", "wait a seq 1 open 1")
		settled(t, node, s)
	})
}

func TestAcquireWaitAsksForPositionsIfSomebodyListens(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		release := heldBySomebody(t, node)
		var told []int
		for i, listen := range []func(sema.Place){nil, func(p sema.Place) { told = append(told, p.Position) }} {
			go func() {
				_, _ = s.Fork().(sema.Waiter).AcquireWait(t.Context(), "a", fmt.Sprint("waiter ", i), timeout, listen)
			}()
			synctest.Wait()
			if asked := node.Requests()[1+i].(fakenode.Wait).Positions; asked != (listen != nil) {
				t.Errorf("waiter %d asked for positions: %v", i, asked)
			}
		}
		release()
		synctest.Wait()
		node.End("a")
		synctest.Wait()
		if !slices.Equal(told, []int{2, 1}) || node.Holder("a").Owner != "waiter 1" {
			t.Errorf("told %v, and held by %+v", told, node.Holder("a"))
		}
	})
}
