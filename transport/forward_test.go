package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

func acquireA() *semav1.AcquireRequest {
	return &semav1.AcquireRequest{Name: "a", Owner: "me", Timeout: durationpb.New(30 * time.Second),
		Attempt: &semav1.Attempt{Client: make16(7), Seq: 3, LowestOpen: 2, Retry: true}}
}

func make16(b byte) []byte {
	id := make([]byte, 16)
	id[0] = b
	return id
}

func TestAFollowerPassesEveryCallOn(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	follower.follows("n1", leader.addr)
	ctx := within(t, 20*time.Second)
	acquired, err := follower.client.Acquire(ctx, acquireA())
	if err != nil || acquired.GetInfo().GetStatus() != semav1.Status_ACQUIRED {
		t.Fatalf("acquire: %v, %v", acquired, err)
	}
	token := acquired.GetInfo().GetToken()
	calls := []func() error{
		func() error {
			_, err := follower.client.Touch(ctx, &semav1.TouchRequest{Name: "a", Token: token})
			return err
		},
		func() error { _, err := follower.client.Get(ctx, &semav1.GetRequest{Name: "a"}); return err },
		func() error { _, err := follower.client.List(ctx, &semav1.ListRequest{}); return err },
		func() error { _, err := follower.client.Status(ctx, &semav1.StatusRequest{}); return err },
		func() error {
			_, err := follower.client.Release(ctx, &semav1.ReleaseRequest{Name: "a", Token: token + 1})
			return err
		},
		func() error {
			_, err := follower.client.ForceRelease(ctx, &semav1.ForceReleaseRequest{Name: "a", Token: token})
			return err
		},
	}
	for i, call := range calls {
		if err := transport.ErrorFromStatus(call()); err != nil && !(i == 4 && errors.Is(err, sema.ErrNotHeld)) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if asked, passed := fmt.Sprint(follower.Requests()), fmt.Sprint(leader.Requests()); asked != passed {
		t.Errorf("passed on\n%s\nof\n%s", passed, asked)
	}
	want := transport.AcquireRequest{Name: "a", Owner: "me", Timeout: 30 * time.Second, Retry: true,
		Attempt: sema.Attempt{Client: sema.ClientID(make16(7)), Seq: 3, LowestOpen: 2}}
	if got := leader.Requests()[0]; got != want {
		t.Errorf("the leader was asked %+v, want %+v", got, want)
	}
}

func TestAnAnswerTellsWhoAnswered(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	follower.follows("n1", leader.addr)
	for _, tc := range []struct {
		asked  *member
		leader []string
	}{{leader, nil}, {follower, []string{"clients.of.n1:1"}}} {
		var header metadata.MD
		if _, err := tc.asked.client.Acquire(within(t, 20*time.Second), acquireA(), grpc.Header(&header)); err != nil {
			t.Fatal(err)
		}
		if got := header.Get(transport.NodeKey); len(got) != 1 || got[0] != "n1" {
			t.Errorf("asked %s, answered by %q", tc.asked.id, got)
		}
		if got := header.Get(transport.LeaderKey); fmt.Sprint(got) != fmt.Sprint(tc.leader) {
			t.Errorf("asked %s, told that the leader is at %q, want %q", tc.asked.id, got, tc.leader)
		}
	}
}

func TestACallIsPassedOnOnce(t *testing.T) {
	one, two := serve(t, "n1", passing(t)), serve(t, "n2", passing(t))
	one.follows("n2", two.addr)
	two.follows("n1", one.addr) // each takes the other for the leader
	_, err := one.client.Acquire(within(t, 20*time.Second), acquireA())
	var notLeader *sema.NotLeaderError
	if !errors.As(transport.ErrorFromStatus(err), &notLeader) || notLeader.Leader.ID != "n1" {
		t.Errorf("got %v, want what the second one said", err)
	}
	if a, b := len(one.Requests()), len(two.Requests()); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times, want once each", a, b)
	}
}

func TestTheDeadlineTravels(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	follower.follows("n1", leader.addr)
	left := make(chan time.Duration, 1)
	leader.Intercept(func(ctx context.Context, _ any, apply func() error) error {
		deadline, ok := ctx.Deadline()
		if !ok {
			t.Error("no deadline")
		}
		left <- time.Until(deadline)
		return apply()
	})
	if _, err := follower.client.Acquire(within(t, time.Hour), acquireA()); err != nil {
		t.Fatal(err)
	}
	if d := <-left; d > time.Hour || d < time.Hour-time.Minute {
		t.Errorf("%v left at the leader, want the hour that the client has", d)
	}

	leader.Intercept(func(ctx context.Context, _ any, _ func() error) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if _, err := follower.client.Acquire(within(t, 100*time.Millisecond), acquireA()); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want the end of the deadline", err)
	}
}

func TestAnswersOfTheLeaderArePassedBackWhole(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	follower.follows("n1", leader.addr)
	for _, row := range crossing {
		leader.Intercept(func(context.Context, any, func() error) error {
			return fmt.Errorf("as the leader says: %w", row.sentinel)
		})
		_, direct := leader.client.Acquire(within(t, 20*time.Second), acquireA())
		_, passed := follower.client.Acquire(within(t, 20*time.Second), acquireA())
		sameText := row.sentinel == sema.ErrNotLeader || direct.Error() == passed.Error() // "not the leader" is each node's own answer
		if direct == nil || passed == nil || !sameText ||
			!errors.Is(transport.ErrorFromStatus(passed), row.sentinel) {
			t.Errorf("%v: the leader says %v, passed on it is %v", row.sentinel, direct, passed)
		}
	}
}

func TestAHopThatBreaks(t *testing.T) {
	t.Run("before anything was sent", func(t *testing.T) {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		lis.Close()
		follower := serve(t, "n2", passing(t))
		follower.follows("n1", lis.Addr().String())
		_, err = follower.client.Acquire(within(t, 20*time.Second), acquireA())
		if err := transport.ErrorFromStatus(err); !errors.Is(err, sema.ErrNotLeader) || errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Errorf("got %v, want ErrNotLeader", err)
		}
	})
	t.Run("after that", func(t *testing.T) {
		leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
		follower.follows("n1", leader.addr)
		leader.Intercept(func(ctx context.Context, _ any, _ func() error) error {
			go leader.kill()
			<-ctx.Done()
			return ctx.Err()
		})
		_, err := follower.client.Acquire(within(t, 20*time.Second), acquireA())
		if err := transport.ErrorFromStatus(err); !errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Errorf("got %v, want ErrOutcomeUnknown", err)
		}
	})
	t.Run("because the leader has no idea", func(t *testing.T) {
		leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
		follower.follows("n1", leader.addr)
		leader.Intercept(func(context.Context, any, func() error) error { return errors.New("no idea") })
		_, err := follower.client.Acquire(within(t, 20*time.Second), acquireA())
		if err := transport.ErrorFromStatus(err); !errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Errorf("got %v, want ErrOutcomeUnknown", err)
		}
	})
	t.Run("because this node stops", func(t *testing.T) {
		peers := passing(t)
		follower := serve(t, "n2", peers)
		follower.follows("n1", "127.0.0.1:1")
		_ = peers.Close()
		_, err := follower.client.Acquire(within(t, 20*time.Second), acquireA())
		if err := transport.ErrorFromStatus(err); !errors.Is(err, sema.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

// A leader that lost its office in the middle does not know the outcome, though it
// knows who leads now: passing the call on would be a second effect.
func TestAnUnknownOutcomeIsNotPassedOn(t *testing.T) {
	deposed, leader := serve(t, "n2", passing(t)), serve(t, "n1", nil)
	deposed.Intercept(func(context.Context, any, func() error) error {
		return &sema.OutcomeUnknownError{Cause: &sema.NotLeaderError{Leader: sema.Leader{ID: "n1", RaftAddr: leader.addr}}}
	})
	_, err := deposed.client.Acquire(within(t, 20*time.Second), acquireA())
	if !errors.Is(transport.ErrorFromStatus(err), sema.ErrOutcomeUnknown) || len(leader.Requests()) != 0 {
		t.Errorf("got %v, and the other one was asked %d times", err, len(leader.Requests()))
	}
}

func TestWithoutPeersTheHintIsTheAnswer(t *testing.T) {
	follower := serve(t, "n2", nil)
	follower.follows("n1", "10.0.0.1:7500")
	_, err := follower.client.Acquire(within(t, 20*time.Second), acquireA())
	var notLeader *sema.NotLeaderError
	if !errors.As(transport.ErrorFromStatus(err), &notLeader) || notLeader.Leader.GRPCAddr != "clients.of.n1:1" {
		t.Errorf("got %v", err)
	}
}

func TestSentTellsFailedFromUnknown(t *testing.T) {
	node := serve(t, "n1", nil)
	for _, tc := range []struct {
		what  string
		error error
		want  bool
	}{{"answered", nil, true}, {"refused by the node", sema.ErrOverloaded, true}, {"lost", fakenode.ErrLost, true}} {
		node.Intercept(func(context.Context, any, func() error) error { return tc.error })
		ctx, sent := transport.WatchSent(within(t, 20*time.Second))
		_, _ = node.client.Release(ctx, &semav1.ReleaseRequest{Name: "a"})
		if sent.Maybe() != tc.want {
			t.Errorf("%s: sent is %v", tc.what, sent.Maybe())
		}
	}
	node.kill()
	for range 3 { // the first may still find the old connection
		ctx, sent := transport.WatchSent(within(t, 20*time.Second))
		if _, err := node.client.Release(ctx, &semav1.ReleaseRequest{Name: "a"}); err == nil {
			t.Fatal("a dead node answered")
		}
		if !sent.Maybe() {
			return
		}
	}
	t.Error("a refused connection counts as sent")
}
