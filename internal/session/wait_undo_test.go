package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/transport"
)

// What a wait that fails may leave behind, and who clears it away.

func TestACallerWhoLeavesTheLine(t *testing.T) {
	why := errors.New("no longer wanted")
	for _, tc := range []struct {
		what  string
		leave func(ctx context.Context) (context.Context, func())
		want  error
	}{
		{"by cancelling", func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(why) }
		}, why},
		{"at its deadline", func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			return ctx, func() { <-ctx.Done(); cancel() }
		}, context.DeadlineExceeded},
	} {
		t.Run(tc.what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
				heldBySomebody(t, node)
				ctx, leave := tc.leave(t.Context())
				done := obtain(ctx, s, wanted)
				leave()
				if got := <-done; !errors.Is(got.err, tc.want) || errors.Is(got.err, sema.ErrOutcomeUnknown) {
					t.Errorf("got %+v, want %v and nothing unknown", got, tc.want)
				}
				expectHolder(t, node, "somebody")
				expectSince(t, node, 1, "wait a seq 1 open 1", "release a token 0 seq 1 open 1")
				settled(t, node, s)
			})
		})
	}
}

// losing is a node that loses the answer of every wait, whenever it comes.
type losing struct{ *fakenode.Node }

func (n losing) Wait(ctx context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	_, err := n.Node.Wait(ctx, req, told)
	return sema.Info{}, errors.Join(fakenode.ErrLost, err)
}

func TestAnAnswerThatIsLostIsUndone(t *testing.T) {
	loseOne := func(apply bool) fakenode.Intercept {
		return func(_ context.Context, req any, do func() error) error {
			if _, wait := req.(fakenode.Wait); !wait {
				return do()
			}
			if apply {
				_ = do()
			}
			return fakenode.ErrLost
		}
	}
	for _, tc := range []struct {
		what   string
		held   bool
		by     fakenode.Intercept
		holder string
	}{
		{"before anything was decided", false, loseOne(false), ""},
		{"before a place was taken", true, loseOne(false), "somebody"},
		{"after a place was taken", true, loseOne(true), "somebody"},
		{"after it was granted", false, loseOne(true), ""},
	} {
		t.Run(tc.what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
				if tc.held {
					heldBySomebody(t, node)
				}
				from := len(node.Requests())
				node.Intercept(tc.by)
				if got := <-obtain(t.Context(), s, wanted); got.err == nil || errors.Is(got.err, sema.ErrOutcomeUnknown) {
					t.Errorf("got %+v, want an error that knows", got)
				}
				expectHolder(t, node, tc.holder)
				expectSince(t, node, from, "wait a seq 1 open 1", "release a token 0 seq 1 open 1")
				settled(t, node, s)
			})
		})
	}
	t.Run("after a long time in line", func(t *testing.T) {
		inBubble(t, func(t *testing.T, node *fakenode.Node, _ *session.Session) {
			s := session.New(losing{node}, id)
			release := heldBySomebody(t, node)
			done := obtain(t.Context(), s, wanted)
			time.Sleep(time.Hour)
			release()
			if got := <-done; got.err == nil || errors.Is(got.err, sema.ErrOutcomeUnknown) {
				t.Errorf("got %+v, want an error that knows", got)
			}
			expectHolder(t, node, "")
			settled(t, node, s)
		})
	})
}

// A caller who is told "unknown" is told so because it could not be undone, and not
// later than it takes to find that out.
func TestWhatCannotBeUndoneIsUnknown(t *testing.T) {
	for _, tc := range []struct {
		what    string
		release func(ctx context.Context) error
		unknown bool
		took    time.Duration
	}{
		{"nobody leads", func(context.Context) error { return sema.ErrNoLeader }, true, 0},
		{"that answer is lost too", func(context.Context) error { return fakenode.ErrLost }, true, 0},
		{"nobody answers", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, true, 5 * time.Second},
		{"it is not held any more", func(context.Context) error { return sema.ErrNotHeld }, false, 0},
		{"it was undone before", func(context.Context) error { return sema.ErrAttemptFinished }, false, 0},
	} {
		t.Run(tc.what, func(t *testing.T) {
			inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
				heldBySomebody(t, node)
				ctx, cancel := context.WithCancel(t.Context())
				done := obtain(ctx, s, wanted)
				node.Intercept(func(ctx context.Context, req any, apply func() error) error {
					if r, ok := req.(transport.ReleaseRequest); ok && r.Token == 0 {
						return tc.release(ctx)
					}
					return apply()
				})
				left := time.Now()
				cancel()
				got := <-done
				if !errors.Is(got.err, context.Canceled) || errors.Is(got.err, sema.ErrOutcomeUnknown) != tc.unknown {
					t.Errorf("got %+v, want Canceled, unknown %v", got, tc.unknown)
				}
				if took := time.Since(left); took != tc.took {
					t.Errorf("it took %v, want %v", took, tc.took)
				}
				settled(t, node, s)
			})
		})
	}
}

// That it was undone before is the answer to the undoing and no news of the attempt:
// it is not made again.
func TestALostAnswerWhoseUndoingComesSecondIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		answer(node, fakenode.ErrLost, sema.ErrAttemptFinished)
		if got := <-obtain(t.Context(), s, wanted); got.err == nil || errors.Is(got.err, sema.ErrOutcomeUnknown) {
			t.Errorf("got %+v, want an error that knows", got)
		}
		expect(t, node, "wait a seq 1 open 1", "release a token 0 seq 1 open 1")
		settled(t, node, s)
	})
}

// telling is a node that gives these answers to waits and acquires, without
// effect, before it decides.
type telling struct {
	*fakenode.Node
	answers []sema.Status
	asked   []sema.Attempt
}

func (n *telling) next(req transport.AcquireRequest) (info sema.Info, told bool) {
	n.asked = append(n.asked, req.Attempt)
	if len(n.answers) == 0 {
		return sema.Info{}, false
	}
	info = sema.Info{Status: n.answers[0], Name: req.Name, Owner: "somebody"}
	n.answers = n.answers[1:]
	return info, true
}

func (n *telling) Wait(ctx context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	if info, ok := n.next(req); ok {
		return info, nil
	}
	return n.Node.Wait(ctx, req, told)
}

func (n *telling) Acquire(ctx context.Context, req transport.AcquireRequest) (sema.Info, error) {
	if info, ok := n.next(req); ok {
		return info, nil
	}
	return n.Node.Acquire(ctx, req)
}

// A place that was lost, and a hold that was ended by this very call: both mean to
// try again, at once, as somebody new.
func TestStatusesThatMeanToTryAgain(t *testing.T) {
	for _, wait := range []bool{true, false} {
		inBubble(t, func(t *testing.T, node *fakenode.Node, _ *session.Session) {
			n := &telling{Node: node}
			for range 20 { // it never tires of that
				n.answers = append(n.answers, sema.ReleasedInTheMeanTime, sema.ForcedReleased)
			}
			s, began := session.New(n, id), time.Now()
			want := wanted
			want.Wait = wait
			if got := <-obtain(t.Context(), s, want); got.err != nil || got.Info.Token != 1 {
				t.Errorf("got %+v", got)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %v", took)
			}
			for i, a := range n.asked {
				if a.Seq != uint64(i+1) || a.LowestOpen != a.Seq {
					t.Errorf("try %d was attempt %+v", i, a)
				}
			}
			settled(t, node, s)
		})
	}
}

func TestTryingAgainEndsWithItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, _ *session.Session) {
		n := &telling{Node: node, answers: []sema.Status{sema.ForcedReleased, sema.ForcedReleased}}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := <-obtain(ctx, session.New(n, id), wanted); got.err != context.Canceled || len(n.asked) != 1 {
			t.Errorf("got %+v after %d tries", got, len(n.asked))
		}
	})
}

func TestAStatusFromTheFutureIsNoGrant(t *testing.T) {
	inBubble(t, func(t *testing.T, node *fakenode.Node, _ *session.Session) {
		n := &telling{Node: node, answers: []sema.Status{9}}
		if got := <-obtain(t.Context(), session.New(n, id), wanted); got.err == nil || len(n.asked) != 1 {
			t.Errorf("got %+v after %d tries", got, len(n.asked))
		}
	})
}

func TestAFinishedWaitGivesWayToANewOne(t *testing.T) {
	for finished, want := range map[int]error{2: nil, 3: sema.ErrAttemptFinished} {
		inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
			answer(node, []error{sema.ErrAttemptFinished, sema.ErrAttemptFinished, sema.ErrAttemptFinished}[:finished]...)
			if got := <-obtain(t.Context(), s, wanted); !errors.Is(got.err, want) {
				t.Errorf("after %d that were finished: %+v, want %v", finished, got, want)
			}
			expect(t, node, "wait a seq 1 open 1", "wait a seq 2 open 2", "wait a seq 3 open 3")
			settled(t, node, s)
		})
	}
}

// Waits may stay open for long, and must not hold up those that do not wait: they
// have identities of their own, as many as it takes.
func TestWaitsHaveIdentitiesOfTheirOwn(t *testing.T) {
	const waits = 2*sema.MaxOpenAttempts + 6
	inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
		heldBySomebody(t, node)
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range waits {
			all.Go(func() {
				if _, err := s.Obtain(ctx, wanted); err != context.Canceled {
					t.Errorf("got %v, want Canceled", err)
				}
			})
		}
		synctest.Wait()
		mustAcquire(t, s, "b")
		per := map[sema.ClientID]int{}
		for _, req := range node.Requests()[1:] {
			switch req := req.(type) {
			case fakenode.Wait:
				per[req.Attempt.Client]++
				if err := req.ValidateWait(); err != nil || req.Attempt.Client == id {
					t.Fatalf("attempt %+v: %v", req.Attempt, err)
				}
			case transport.AcquireRequest:
				if req.Attempt != (sema.Attempt{Client: id, Seq: 1, LowestOpen: 1}) {
					t.Errorf("beside the waits: attempt %+v", req.Attempt)
				}
			}
		}
		if len(per) != 3 || len(node.Line("a")) != waits {
			t.Errorf("%d are in line, under %d identities, want %d under 3", len(node.Line("a")), len(per), waits)
		}
		leave()
		all.Wait()
		expectHolder(t, node, "somebody")
		settled(t, node, s)
	})
}

// Whatever is lost, and whenever a caller leaves: who has an error has nothing, and
// who has a hold has the one that stands.
func TestNothingIsLeftBehind(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, node *fakenode.Node, s *session.Session) {
				var mu sync.Mutex // random's
				random := rand.New(rand.NewPCG(seed, 0))
				draw := func(n int) int {
					mu.Lock()
					defer mu.Unlock()
					return random.IntN(n)
				}
				node.Intercept(func(_ context.Context, req any, apply func() error) error {
					_, undo := req.(transport.ReleaseRequest)
					switch luck := draw(6); {
					case luck == 0 && !undo:
						return fakenode.ErrLost
					case luck == 1 && !undo:
						_ = apply()
						return fakenode.ErrLost
					}
					return apply()
				})
				var all sync.WaitGroup
				for range 20 {
					all.Go(func() {
						for range 5 {
							ctx, cancel := context.WithTimeout(t.Context(), time.Duration(draw(60_000))*time.Millisecond)
							granted, err := s.Obtain(ctx, wanted)
							switch {
							case errors.Is(err, sema.ErrOutcomeUnknown):
								t.Errorf("every undo worked, and it ended with %v", err)
							case err == nil:
								time.Sleep(time.Duration(draw(20_000)) * time.Millisecond) // at work
								if token := node.Holder("a").Token; token != granted.Info.Token {
									t.Errorf("token %d was granted, and %d stands", granted.Info.Token, token)
								}
								node.End("a")
							}
							cancel()
						}
					})
				}
				all.Wait()
				expectHolder(t, node, "")
				settled(t, node, s)
			})
		})
	}
}
