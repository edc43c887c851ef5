package session_test

import (
	"context"
	"errors"
	"testing"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/internal/session"
)

func TestForksShareAttemptsAndNothingElse(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	fork := s.Fork()
	mustAcquire(t, s, "a")
	mustAcquire(t, fork, "b")
	if _, err := fork.Touch(t.Context(), "a"); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("a fork touched a hold that is not its own: %v", err)
	}
	if err := s.Release(t.Context(), "b"); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("a fork's hold was released: %v", err)
	}
	expect(t, node, "acquire a seq 1 open 1", "acquire b seq 2 open 2", "release b token 0 seq 0 open 3")
}

// Two pieces of work share one Service. The first outlives its hold and ends
// while the second is at work: its release must not reach the second one's hold.
func TestIsolatedWorkLeavesItsSuccessorsHoldAlone(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	secondAtWork, firstDone := make(chan sema.Info), make(chan struct{})
	second := make(chan error, 1)
	_, err := sema.Isolate(t.Context(), s, "a", "first", func(context.Context, sema.Info) (int, error) {
		node.End("a")
		go func() {
			_, err := sema.Isolate(t.Context(), s, "a", "second", func(_ context.Context, hold sema.Info) (int, error) {
				secondAtWork <- hold
				<-firstDone
				return 0, nil
			}, sema.IsolateOptions{})
			second <- err
		}()
		<-secondAtWork
		return 0, nil
	}, sema.IsolateOptions{})
	if !errors.Is(err, sema.ErrLost) {
		t.Errorf("the first one: %v, want ErrLost", err)
	}
	if node.Holder("a").Owner != "second" {
		t.Errorf("held by %+v, want the second one", node.Holder("a"))
	}
	close(firstDone)
	if err := <-second; err != nil {
		t.Errorf("the second one: %v", err)
	}
}
