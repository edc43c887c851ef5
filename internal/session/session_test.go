package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/transport"
)

const timeout = 30 * time.Second

var id = sema.ClientID{1}

// story returns requests as lines, the way the tests tell what was sent.
func story(requests []any) []string {
	var lines []string
	for _, req := range requests {
		switch req := req.(type) {
		case transport.AcquireRequest:
			retry := ""
			if req.Retry {
				retry = " again"
			}
			lines = append(lines, fmt.Sprintf("acquire %s seq %d open %d%s", req.Name, req.Attempt.Seq, req.Attempt.LowestOpen, retry))
		case fakenode.Wait:
			lines = append(lines, fmt.Sprintf("wait %s seq %d open %d", req.Name, req.Attempt.Seq, req.Attempt.LowestOpen))
		case transport.TouchRequest:
			lines = append(lines, fmt.Sprintf("touch %s token %d open %d", req.Name, req.Token, req.Attempt.LowestOpen))
		case transport.ReleaseRequest:
			lines = append(lines, fmt.Sprintf("release %s token %d seq %d open %d", req.Name, req.Token, req.Attempt.Seq, req.Attempt.LowestOpen))
		case transport.GetRequest:
			lines = append(lines, "get "+req.Name)
		}
	}
	return lines
}

func expect(t *testing.T, node *fakenode.Node, want ...string) {
	t.Helper()
	got := strings.Join(story(node.Requests()), "\n")
	if got != strings.Join(want, "\n") {
		t.Errorf("sent\n\n%s\n\nwant\n\n%s\n", got, strings.Join(want, "\n"))
	}
}

func mustAcquire(t *testing.T, svc sema.Service, name string) sema.Info {
	t.Helper()
	info, err := svc.Acquire(t.Context(), name, "me", timeout)
	if err != nil || info.Status != sema.Acquired {
		t.Fatalf("acquire %s: %v, %v", name, info.Status, err)
	}
	return info
}

// answer makes the node give these answers to the next requests, without effect;
// nil lets a request pass.
func answer(node *fakenode.Node, errs ...error) {
	node.Intercept(func(_ context.Context, _ any, apply func() error) error {
		if len(errs) == 0 {
			return apply()
		}
		err := errs[0]
		errs = errs[1:]
		if err == nil {
			return apply()
		}
		return err
	})
}

// lose makes the node carry out the next n requests and lose the answers.
func lose(node *fakenode.Node, n int) {
	node.Intercept(func(_ context.Context, _ any, apply func() error) error {
		err := apply()
		if n > 0 {
			n--
			return fakenode.ErrLost
		}
		return err
	})
}

func TestAHoldIsRememberedUntilItIsReleased(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	mustAcquire(t, s, "a")
	mustAcquire(t, s, "b")
	if info, err := s.Touch(t.Context(), "a"); err != nil || info.Token != 1 {
		t.Errorf("touch: %v, %v", info, err)
	}
	for _, want := range []struct {
		name   string
		status sema.Status
	}{{"a", sema.Acquired}, {"b", sema.Acquired}} {
		if info, err := s.Get(t.Context(), want.name); err != nil || info.Status != want.status {
			t.Errorf("get %s: %v, %v", want.name, info.Status, err)
		}
	}
	if err := s.Release(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	if _, err := s.Touch(t.Context(), "a"); err != sema.ErrNotHeld { // nobody is asked
		t.Errorf("touch after release: %v", err)
	}
	if err := s.Release(t.Context(), "a"); err != nil { // free already
		t.Error(err)
	}
	expect(t, node, "acquire a seq 1 open 1", "acquire b seq 2 open 2", "touch a token 1 open 3", "get a", "get b",
		"release a token 1 seq 0 open 3", "release a token 0 seq 0 open 3")
}

func TestNobodyElsesHoldIsTouched(t *testing.T) {
	node := new(fakenode.Node)
	mine, other := session.New(node, id), session.New(node, sema.ClientID{})
	mustAcquire(t, other, "a")
	if info, err := mine.Acquire(t.Context(), "a", "me", timeout); err != nil || info.Status != sema.OwnedBySomeoneElse || info.Owner != "me" {
		t.Errorf("acquire: %+v, %v", info, err)
	}
	if _, err := mine.Touch(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("touch: %v", err)
	}
	if err := mine.Release(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("release: %v", err)
	}
	if info, err := mine.Get(t.Context(), "a"); err != nil || info.Status != sema.OwnedBySomeoneElse {
		t.Errorf("get: %v, %v", info.Status, err)
	}
	if info, err := other.Get(t.Context(), "a"); err != nil || info.Status != sema.Acquired {
		t.Errorf("get by the holder: %v, %v", info.Status, err)
	}
	if _, err := mine.GetStale(t.Context(), "b"); !errors.Is(err, sema.ErrNotFound) {
		t.Errorf("get of what is free: %v", err)
	}
}

func TestNothingInvalidIsSent(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	_, acquire := s.Acquire(t.Context(), "a", "me", 0)
	_, touch := s.Touch(t.Context(), "\n")
	_, get := s.Get(t.Context(), "")
	for _, err := range []error{acquire, touch, get, s.Release(t.Context(), "\xff")} {
		if !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
	}
	expect(t, node)
}

func TestALostHoldIsForgotten(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	mustAcquire(t, s, "a")
	node.End("a")
	for range 2 {
		if _, err := s.Touch(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
			t.Errorf("touch: %v", err)
		}
	}
	expect(t, node, "acquire a seq 1 open 1", "touch a token 1 open 2") // the second asks nobody
}

// While a touch learns that its hold is gone, the name is acquired again.
func TestANewerHoldIsNotForgottenForAnOlder(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	mustAcquire(t, s, "a")
	node.End("a")
	node.Intercept(func(ctx context.Context, req any, apply func() error) error {
		err := apply()
		if _, ok := req.(transport.TouchRequest); ok {
			node.Intercept(nil)
			mustAcquire(t, s, "a")
		}
		return err
	})
	if _, err := s.Touch(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("touch of the old hold: %v", err)
	}
	if info, err := s.Touch(t.Context(), "a"); err != nil || info.Token != 2 {
		t.Errorf("touch of the new hold: %v, %v", info, err)
	}
}

// The answer to an acquire is overtaken by that to a later one.
func TestAnOlderHoldDoesNotReplaceANewer(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	node.Intercept(func(_ context.Context, _ any, apply func() error) error {
		err := apply()
		node.Intercept(nil)
		node.End("a")
		mustAcquire(t, s, "a")
		return err
	})
	if info := mustAcquire(t, s, "a"); info.Token != 1 {
		t.Fatalf("token %d", info.Token)
	}
	if info, err := s.Touch(t.Context(), "a"); err != nil || info.Token != 2 {
		t.Errorf("touched %v, %v, want the newer hold", info.Token, err)
	}
}

func TestAnsweredAndFailedAttemptsAreClosed(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	answer(node, sema.ErrOverloaded, &sema.NotLeaderError{}, sema.ErrNoLeader, sema.ErrClosed, context.Canceled)
	for range 5 {
		if _, err := s.Acquire(t.Context(), "a", "me", timeout); err == nil || errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Errorf("got %v, want a definite failure", err)
		}
	}
	mustAcquire(t, s, "a")
	expect(t, node, "acquire a seq 1 open 1", "acquire a seq 2 open 2", "acquire a seq 3 open 3",
		"acquire a seq 4 open 4", "acquire a seq 5 open 5", "acquire a seq 6 open 6")
}

func TestAnUnknownAcquireIsContinued(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	lose(node, 1)
	if _, err := s.Acquire(t.Context(), "a", "me", timeout); !errors.Is(err, sema.ErrOutcomeUnknown) {
		t.Fatalf("got %v, want ErrOutcomeUnknown", err)
	}
	mustAcquire(t, s, "b") // the attempt for a stays open meanwhile
	if info := mustAcquire(t, s, "a"); info.Token != 1 {
		t.Errorf("token %d, want that of the first try", info.Token)
	}
	if err := s.Release(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	expect(t, node, "acquire a seq 1 open 1", "acquire b seq 2 open 1",
		"acquire a seq 1 open 1 again", "touch a token 1 open 1", // its time counts from now
		"release a token 1 seq 0 open 3")
}

// Once it is unknown, an outcome is made known by an answer of the log only.
func TestAnUnknownAcquireStaysUnknown(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	answer(node, fakenode.ErrLost, sema.ErrNoLeader, sema.ErrOverloaded, nil, sema.ErrNoLeader)
	for _, also := range []error{nil, sema.ErrNoLeader, sema.ErrOverloaded, sema.ErrNoLeader} {
		_, err := s.Acquire(t.Context(), "a", "me", timeout)
		if !errors.Is(err, sema.ErrOutcomeUnknown) || also != nil && !errors.Is(err, also) {
			t.Errorf("got %v, want ErrOutcomeUnknown and %v", err, also)
		}
	}
	mustAcquire(t, s, "a")
	expect(t, node, "acquire a seq 1 open 1", "acquire a seq 1 open 1 again", "acquire a seq 1 open 1 again",
		"acquire a seq 1 open 1 again", "touch a token 1 open 1", // granted, but the touch failed
		"acquire a seq 1 open 1 again", "touch a token 1 open 1")
}

func TestAnUnknownAcquireOfSomethingElseIsUndoneFirst(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	lose(node, 1)
	_, _ = s.Acquire(t.Context(), "a", "me", timeout)
	if info, err := s.Acquire(t.Context(), "a", "me", 2*timeout); err != nil || info.Token != 2 || info.Timeout != 2*timeout {
		t.Errorf("got %+v, %v", info, err)
	}
	expect(t, node, "acquire a seq 1 open 1", "release a token 0 seq 1 open 1", "acquire a seq 2 open 2")
}

func TestNothingIsAcquiredIfTheOldCannotBeUndone(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	answer(node, fakenode.ErrLost, sema.ErrNoLeader)
	_, _ = s.Acquire(t.Context(), "a", "me", timeout)
	if _, err := s.Acquire(t.Context(), "a", "you", timeout); !errors.Is(err, sema.ErrNoLeader) || !strings.Contains(err.Error(), `"me"`) {
		t.Errorf("got %v, want ErrNoLeader and whose acquire is in the way", err)
	}
	mustAcquire(t, s, "a") // by me: continues
	expect(t, node, "acquire a seq 1 open 1", "release a token 0 seq 1 open 1", "acquire a seq 1 open 1 again", "touch a token 1 open 1")
}

func TestReleaseUndoesAnUnknownAcquire(t *testing.T) {
	for _, tc := range []struct {
		what    string
		prepare func(node *fakenode.Node)
	}{
		{"that was granted", func(node *fakenode.Node) { lose(node, 1) }},
		{"that never came", func(node *fakenode.Node) { answer(node, fakenode.ErrLost) }},
		{"that is finished for the cluster", func(node *fakenode.Node) { answer(node, fakenode.ErrLost, sema.ErrAttemptFinished) }},
		{"beside somebody else's hold", func(node *fakenode.Node) { answer(node, fakenode.ErrLost, sema.ErrNotHeld) }},
	} {
		t.Run(tc.what, func(t *testing.T) {
			node := new(fakenode.Node)
			s := session.New(node, id)
			tc.prepare(node)
			_, _ = s.Acquire(t.Context(), "a", "me", timeout)
			if err := s.Release(t.Context(), "a"); err != nil {
				t.Errorf("release: %v", err)
			}
			if node.Holder("a").Token != 0 {
				t.Error("the semaphore is held")
			}
			mustAcquire(t, s, "a")
			expect(t, node, "acquire a seq 1 open 1", "release a token 0 seq 1 open 1", "acquire a seq 2 open 2")
		})
	}
}

func TestAFailedUndoIsTriedAgain(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	answer(node, fakenode.ErrLost, sema.ErrNoLeader)
	_, _ = s.Acquire(t.Context(), "a", "me", timeout)
	if err := s.Release(t.Context(), "a"); !errors.Is(err, sema.ErrNoLeader) {
		t.Errorf("got %v, want ErrNoLeader", err)
	}
	if err := s.Release(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	expect(t, node, "acquire a seq 1 open 1", "release a token 0 seq 1 open 1", "release a token 0 seq 1 open 1")
}

// Release ends what is held and what may be held.
func TestReleaseEndsEverythingUnderTheName(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	mustAcquire(t, s, "a")
	node.End("a") // unnoticed
	lose(node, 1)
	_, _ = s.Acquire(t.Context(), "a", "me", timeout)
	if err := s.Release(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	expect(t, node, "acquire a seq 1 open 1", "acquire a seq 2 open 2", "release a token 0 seq 2 open 2", "release a token 1 seq 0 open 3")
}

// A release that freed the hold has not failed, even if an acquire of unknown
// outcome could not be undone.
func TestReleaseOfAPartIsNotAFailure(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	mustAcquire(t, s, "a")
	node.End("a") // unnoticed
	answer(node, fakenode.ErrLost, sema.ErrNoLeader)
	_, _ = s.Acquire(t.Context(), "a", "me", timeout)
	if err := s.Release(t.Context(), "a"); !errors.Is(err, sema.ErrOutcomeUnknown) || !errors.Is(err, sema.ErrNoLeader) {
		t.Errorf("got %v, want an unknown outcome because of ErrNoLeader", err)
	}
	if err := s.Release(t.Context(), "a"); err != nil {
		t.Error(err)
	}
}

func TestAFinishedAttemptGivesWayToANewOne(t *testing.T) {
	t.Run("of this call", func(t *testing.T) {
		node := new(fakenode.Node)
		s := session.New(node, id)
		answer(node, sema.ErrAttemptFinished)
		mustAcquire(t, s, "a")
		expect(t, node, "acquire a seq 1 open 1", "acquire a seq 2 open 2")
	})
	t.Run("of an earlier call", func(t *testing.T) {
		node := new(fakenode.Node)
		s := session.New(node, id)
		lose(node, 1)
		_, _ = s.Acquire(t.Context(), "a", "me", timeout)
		node.End("a")
		mustAcquire(t, s, "a")
		expect(t, node, "acquire a seq 1 open 1", "acquire a seq 1 open 1 again", "acquire a seq 2 open 2")
	})
	t.Run("that ended while it was answered", func(t *testing.T) {
		node := new(fakenode.Node)
		s := session.New(node, id)
		answer(node, fakenode.ErrLost, nil, sema.ErrNotHeld)
		_, _ = s.Acquire(t.Context(), "a", "me", timeout)
		if _, err := s.Acquire(t.Context(), "a", "me", timeout); err != nil {
			t.Error(err)
		}
		expect(t, node, "acquire a seq 1 open 1", "acquire a seq 1 open 1 again", "touch a token 1 open 1", "acquire a seq 2 open 2")
	})
	t.Run("but not for ever", func(t *testing.T) {
		node := new(fakenode.Node)
		s := session.New(node, id)
		node.Intercept(func(context.Context, any, func() error) error { return sema.ErrAttemptFinished })
		if _, err := s.Acquire(t.Context(), "a", "me", timeout); !errors.Is(err, sema.ErrAttemptFinished) {
			t.Errorf("got %v", err)
		}
		expect(t, node, "acquire a seq 1 open 1", "acquire a seq 2 open 2", "acquire a seq 3 open 3")
	})
}

func TestARepeatedReleaseFindsItsOwnWork(t *testing.T) {
	t.Run("not held is success", func(t *testing.T) {
		node := new(fakenode.Node)
		s, other := session.New(node, id), session.New(node, sema.ClientID{})
		mustAcquire(t, s, "a")
		lose(node, 1)
		if err := s.Release(t.Context(), "a"); !errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Fatalf("got %v, want ErrOutcomeUnknown", err)
		}
		mustAcquire(t, other, "a")
		if err := s.Release(t.Context(), "a"); err != nil {
			t.Errorf("the repeat: %v", err)
		}
		if err := s.Release(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
			t.Errorf("a release after that: %v, want ErrNotHeld: somebody else holds", err)
		}
	})
	t.Run("unless a touch found the hold lost", func(t *testing.T) {
		node := new(fakenode.Node)
		s, other := session.New(node, id), session.New(node, sema.ClientID{})
		mustAcquire(t, s, "a")
		answer(node, fakenode.ErrLost)
		_ = s.Release(t.Context(), "a")
		node.End("a")
		mustAcquire(t, other, "a")
		if _, err := s.Touch(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
			t.Errorf("touch: %v", err)
		}
		if err := s.Release(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
			t.Errorf("release: %v, want ErrNotHeld", err)
		}
	})
	t.Run("and a first release that fails is no release", func(t *testing.T) {
		node := new(fakenode.Node)
		s, other := session.New(node, id), session.New(node, sema.ClientID{})
		mustAcquire(t, s, "a")
		answer(node, sema.ErrNoLeader)
		_ = s.Release(t.Context(), "a")
		node.End("a")
		mustAcquire(t, other, "a")
		if err := s.Release(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
			t.Errorf("release: %v, want ErrNotHeld", err)
		}
	})
}

func TestOwnOverdueHoldEndedByOwnAcquire(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(forcing{node}, id)
	mustAcquire(t, s, "a")
	if info, err := s.Acquire(t.Context(), "a", "me", timeout); err != nil || info.Status != sema.ForcedReleased {
		t.Fatalf("got %v, %v", info.Status, err)
	}
	if _, err := s.Touch(t.Context(), "a"); err != sema.ErrNotHeld {
		t.Errorf("touch: %v", err)
	}
	expect(t, node, "acquire a seq 1 open 1", "acquire a seq 2 open 2") // the touch asked nobody
}

// forcing is a node where every hold that is in the way is overdue.
type forcing struct{ *fakenode.Node }

func (f forcing) Acquire(ctx context.Context, req transport.AcquireRequest) (sema.Info, error) {
	info, err := f.Node.Acquire(ctx, req)
	if info.Status == sema.OwnedBySomeoneElse {
		f.End(req.Name)
		info.Status = sema.ForcedReleased
	}
	return info, err
}
