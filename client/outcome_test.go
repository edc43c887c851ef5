package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
)

func TestALeaderThatDiesIsTheSameAttemptElsewhere(t *testing.T) {
	first, second := serve(t, nil), serve(t, nil)
	asked := first.hangs()
	c := dialWith(t, client.Config{Endpoints: []string{first.addr, second.addr}, TryTimeout: time.Minute})
	acquired := make(chan error, 1)
	go func() {
		_, err := c.Acquire(t.Context(), "a", "me", timeout)
		acquired <- err
	}()
	before := (<-asked).(transport.AcquireRequest)
	first.kill()
	if err := <-acquired; err != nil {
		t.Fatal(err)
	}
	after := second.acquires()
	if len(after) != 1 || after[0].Attempt != before.Attempt || before.Retry || !after[0].Retry {
		t.Errorf("asked %+v and then %+v, want the same attempt, the second time as a retry", before, after)
	}
	mustAcquire(t, c, "b")
	if last := second.acquires()[1]; last.Retry || last.Attempt.Seq != before.Attempt.Seq+1 {
		t.Errorf("the next acquire was %+v", last)
	}
}

func TestNobodyThere(t *testing.T) {
	endpoints := []string{nobody(t), nobody(t), blackHole(t)}
	c := dialWith(t, client.Config{Endpoints: endpoints, BackoffMax: 30 * time.Millisecond, TryTimeout: 100 * time.Millisecond})
	calls := map[string]func(ctx context.Context) error{
		"acquire": func(ctx context.Context) error { _, err := c.Acquire(ctx, "a", "me", timeout); return err },
		"touch":   func(ctx context.Context) error { _, err := c.TouchToken(ctx, "a", 1); return err },
		"release": func(ctx context.Context) error { return c.Release(ctx, "a") },
		"force":   func(ctx context.Context) error { _, err := c.ForceRelease(ctx, "a", 1); return err },
		"get":     func(ctx context.Context) error { _, err := c.Get(ctx, "a"); return err },
		"list":    func(ctx context.Context) error { _, err := c.List(ctx, transport.ListRequest{}); return err },
		"status":  func(ctx context.Context) error { _, err := c.Status(ctx); return err },
	}
	ctx := within(t, time.Second)
	var all sync.WaitGroup
	for what, call := range calls {
		all.Go(func() {
			err := call(ctx)
			var noLeader *client.NoLeaderError
			if !errors.As(err, &noLeader) || !errors.Is(err, sema.ErrNoLeader) || !errors.Is(err, context.DeadlineExceeded) ||
				errors.Is(err, sema.ErrOutcomeUnknown) {
				t.Errorf("%s: got %v, want a NoLeaderError", what, err)
				return
			}
			for _, addr := range endpoints {
				if !strings.Contains(err.Error(), addr) {
					t.Errorf("%s: %q does not name %s", what, err, addr)
				}
			}
			if text := err.Error(); !strings.HasPrefix(text, "no leader found: context deadline exceeded; asked ") ||
				!strings.Contains(text, "connection refused") {
				t.Errorf("%s: %q does not tell what happened", what, text)
			}
		})
	}
	all.Wait()
}

func TestAContextThatHasEndedAsksNobody(t *testing.T) {
	node := serve(t, nil)
	why := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	_, err := dial(t, node.addr).Acquire(ctx, "a", "me", timeout)
	if !errors.Is(err, sema.ErrNoLeader) || !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if n := len(node.Requests()); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

var errHang = errors.New("no answer at all")

// Which answers, in which order, leave the outcome unknown when the time is up.
func TestUnknownAndFailedAreKeptApart(t *testing.T) {
	calls := []struct {
		what  string
		reads bool
		make  func(ctx context.Context, c *client.Client) error
	}{
		{"acquire", false, func(ctx context.Context, c *client.Client) error {
			_, err := c.Acquire(ctx, "a", "me", timeout)
			return err
		}},
		{"touch", false, func(ctx context.Context, c *client.Client) error { _, err := c.TouchToken(ctx, "a", 1); return err }},
		{"release", false, func(ctx context.Context, c *client.Client) error { return c.Release(ctx, "a") }},
		{"get", true, func(ctx context.Context, c *client.Client) error { _, err := c.Get(ctx, "a"); return err }},
	}
	for _, tc := range []struct {
		what    string
		answers []error // the context ends after the last one
		unknown bool
	}{
		{"no answer", []error{errHang}, true},
		{"not the leader", []error{&sema.NotLeaderError{}}, false},
		{"overloaded", []error{sema.ErrOverloaded}, false},
		{"closed", []error{sema.ErrClosed}, false},
		{"the node does not know", []error{fakenode.ErrLost}, true},
		{"no answer, then refused", []error{errHang, &sema.NotLeaderError{}}, true},
		{"the node does not know, then overloaded twice", []error{fakenode.ErrLost, sema.ErrOverloaded, sema.ErrOverloaded}, true},
		{"refused, then no answer", []error{&sema.NotLeaderError{}, sema.ErrClosed, errHang}, true},
		{"a fault without a name", []error{status.Error(codes.Internal, "no idea")}, true},
	} {
		t.Run(tc.what, func(t *testing.T) {
			var all sync.WaitGroup
			for _, call := range calls {
				all.Go(func() {
					addr, err := afterAnswers(t, tc.answers, call.make)
					unknown := tc.unknown && !call.reads
					if got := errors.Is(err, sema.ErrOutcomeUnknown); got != unknown {
						t.Errorf("%s: got %v, want unknown: %v", call.what, err, unknown)
					}
					if got := errors.Is(err, sema.ErrNoLeader); got == unknown {
						t.Errorf("%s: %v matches ErrNoLeader: %v", call.what, err, got)
					}
					if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), addr) {
						t.Errorf("%s: %v does not tell why, or whom it asked", call.what, err)
					}
				})
			}
			all.Wait()
		})
	}
}

// afterAnswers makes a call to a node that answers each try in turn, and ends its
// context once all answers have come. It returns the node's address and how the
// call ended.
func afterAnswers(t *testing.T, answers []error, call func(context.Context, *client.Client) error) (addr string, err error) {
	node := serve(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked, failed atomic.Int64
	c := dialWith(t, client.Config{Endpoints: []string{node.addr}, TryTimeout: 400 * time.Millisecond, BackoffMax: 25 * time.Millisecond,
		Logger: onFailure(func(string) {
			if asked.Load() > 0 && failed.Add(1) == int64(len(answers)) {
				cancel()
			}
		})})
	if _, err := c.Status(within(t, 20*time.Second)); err != nil { // connects, however long it takes
		t.Error(err)
	}
	node.Intercept(func(ctx context.Context, _ any, _ func() error) error {
		if err := answers[asked.Add(1)-1]; err != errHang {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	return node.addr, call(ctx, c)
}

// onFailure is a Logger that tells of each try that failed, in one line.
func onFailure(tell func(line string)) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: lines(func(line string) {
		if strings.Contains(line, "try failed") {
			tell(line)
		}
	})})
}

type lines func(line string)

func (l lines) Write(p []byte) (int, error) {
	l(string(p))
	return len(p), nil
}

func TestALostAnswerIsFoundAgain(t *testing.T) {
	node := serve(t, nil)
	var count atomic.Int64
	node.Intercept(func(_ context.Context, _ any, apply func() error) error {
		if err := apply(); err != nil || count.Add(1) > 1 {
			return err
		}
		return fakenode.ErrLost
	})
	c := dial(t, node.addr)
	if info := mustAcquire(t, c, "a"); info.Token != 1 {
		t.Errorf("token %d: acquired twice", info.Token)
	}
	requests := node.acquires()
	if len(requests) != 2 || requests[0].Attempt != requests[1].Attempt || requests[0].Retry || !requests[1].Retry {
		t.Errorf("asked %+v", requests)
	}
}

// The hold ended before the answer to its acquire came through.
func TestAFinishedAttemptIsFollowedByANewOne(t *testing.T) {
	node := serve(t, nil)
	var count atomic.Int64
	node.Intercept(func(_ context.Context, _ any, apply func() error) error {
		err := apply()
		if count.Add(1) == 1 {
			node.End("a")
			return fakenode.ErrLost
		}
		return err
	})
	if info := mustAcquire(t, dial(t, node.addr), "a"); info.Token != 2 {
		t.Errorf("token %d, want that of the second attempt", info.Token)
	}
}

// A release that is repeated finds the semaphore in somebody else's hands.
func TestARepeatedReleaseFindsItsOwnWork(t *testing.T) {
	for _, tc := range []struct {
		what    string
		release func(c *client.Client, token uint64) error
		want    error
	}{
		{"release", func(c *client.Client, _ uint64) error { return c.Release(t.Context(), "a") }, nil},
		{"release by token", func(c *client.Client, token uint64) error {
			released, err := c.ReleaseToken(t.Context(), "a", token)
			if !released {
				err = errors.Join(err, errors.New("released is false"))
			}
			return err
		}, nil},
		{"forced release", func(c *client.Client, token uint64) error {
			info, err := c.ForceRelease(t.Context(), "a", token)
			if info.Token != token || info.Status != sema.ForcedReleased {
				err = errors.Join(err, errors.New("wrong Info"))
			}
			return err
		}, nil},
		{"touch", func(c *client.Client, _ uint64) error { _, err := c.Touch(t.Context(), "a"); return err }, sema.ErrNotHeld},
	} {
		t.Run(tc.what, func(t *testing.T) {
			node := serve(t, nil)
			c, other := dial(t, node.addr), dial(t, node.addr)
			token := mustAcquire(t, c, "a").Token
			node.Intercept(func(_ context.Context, _ any, apply func() error) error {
				node.Intercept(nil)
				_ = apply()
				node.End("a") // the touch did not end it
				mustAcquire(t, other, "a")
				return fakenode.ErrLost
			})
			if err := tc.release(c, token); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if holder := node.Holder("a"); holder.Token != token+1 {
				t.Errorf("held by %+v, want the other's hold", holder)
			}
		})
	}
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	for _, tc := range []struct {
		answer error
		code   codes.Code
	}{
		{&sema.InvalidError{Field: "name", Value: "x", Limit: "something else"}, codes.Unknown}, // a contract error, no gRPC one
		{sema.ErrNotHeld, codes.Unknown},
		{status.Error(codes.InvalidArgument, "no"), codes.InvalidArgument},
		{status.Error(codes.Unimplemented, "no"), codes.Unimplemented},
		{status.Error(codes.ResourceExhausted, "too large"), codes.ResourceExhausted},
		{status.Error(codes.PermissionDenied, "no"), codes.PermissionDenied},
		{status.Error(codes.Unauthenticated, "no"), codes.Unauthenticated},
	} {
		node := serve(t, nil)
		node.Intercept(func(context.Context, any, func() error) error { return tc.answer })
		_, err := dial(t, node.addr).Acquire(t.Context(), "a", "me", timeout) // no deadline: it must end by itself
		if status.Code(err) != tc.code || errors.Is(err, sema.ErrOutcomeUnknown) || err == nil {
			t.Errorf("%v: got %v", tc.answer, err)
		}
		if n := len(node.Requests()); n != 1 {
			t.Errorf("%v: asked %d times", tc.answer, n)
		}
	}
}

func TestARefusalDoesNotMakeAnEarlierTryKnown(t *testing.T) {
	node := serve(t, nil)
	refused := &sema.InvalidError{Field: "name", Value: "x", Limit: "something else"}
	node.answers(fakenode.ErrLost, refused)
	_, err := dial(t, node.addr).Acquire(t.Context(), "a", "me", timeout)
	if !errors.Is(err, sema.ErrOutcomeUnknown) || !errors.Is(err, sema.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// Something else than Sema listens at the endpoint.
func TestAServerOfSomethingElse(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(lis)
	}()
	defer func() {
		server.Stop()
		<-done
	}()
	if _, err := dial(t, lis.Addr().String()).Get(t.Context(), "a"); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v, want Unimplemented", err)
	}
}

// TestReleaseWhoseAnswerWasLostAndThatFindsItFree did its work: the first try freed
// the semaphore, and the second found it so.
func TestReleaseWhoseAnswerWasLostAndThatFindsItFree(t *testing.T) {
	node := serve(t, nil)
	c := dial(t, node.addr)
	loseOne := func() {
		node.Intercept(func(_ context.Context, _ any, apply func() error) error {
			node.Intercept(nil)
			_ = apply()
			return fakenode.ErrLost
		})
	}
	l, err := c.Lock(t.Context(), "a", client.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	loseOne()
	if err := l.Unlock(t.Context()); err != nil {
		t.Errorf("unlock: %v", err)
	}
	token := mustAcquire(t, c, "a").Token
	loseOne()
	if released, err := c.ReleaseToken(t.Context(), "a", token); !released || err != nil {
		t.Errorf("release by token: %v, %v", released, err)
	}
}
