package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
)

// The tests of this file run in virtual time: the real client, over a node that
// is in this process and does as it is told.

const aMinute = time.Minute

// inVirtualTime runs a test with a client of a fake node.
func inVirtualTime(t *testing.T, test func(t *testing.T, node *fakenode.Node, c *client.Client)) {
	synctest.Test(t, func(t *testing.T) {
		node := new(fakenode.Node)
		local := transport.NewLocal(transport.ServerConfig{NodeID: "fake", Backend: node})
		c := client.NewLocal(local, nil)
		defer local.Stop()
		defer c.Close()
		test(t, node, c)
	})
}

func lock(t *testing.T, c *client.Client, name string, opts client.LockOptions) *client.Lock {
	t.Helper()
	l, err := c.Lock(t.Context(), name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func unlock(t *testing.T, l *client.Lock) {
	t.Helper()
	if err := l.Unlock(context.Background()); err != nil {
		t.Errorf("unlock %s: %v", l.Name(), err)
	}
}

// touches are the messages that keep locks alive, each with when it came.
type touches struct {
	mu    sync.Mutex
	sizes []int
	last  map[uint64]time.Time
	gaps  map[uint64]time.Duration // the longest between two touches of one lock
}

func watchTouches(node *fakenode.Node) *touches {
	ts := &touches{last: map[uint64]time.Time{}, gaps: map[uint64]time.Duration{}}
	node.Intercept(func(_ context.Context, req any, apply func() error) error {
		if all, ok := req.(transport.TouchAllRequest); ok {
			ts.mu.Lock()
			defer ts.mu.Unlock()
			ts.sizes = append(ts.sizes, len(all.Holds))
			for _, h := range all.Holds {
				if last, again := ts.last[h.Token]; again {
					ts.gaps[h.Token] = max(ts.gaps[h.Token], time.Since(last))
				}
				ts.last[h.Token] = time.Now()
			}
		}
		return apply()
	})
	return ts
}

func TestOneMessageKeepsAllLocksAlive(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		ts := watchTouches(node)
		var locks []*client.Lock
		for i := range 100 {
			locks = append(locks, lock(t, c, fmt.Sprint("lock ", i), client.LockOptions{Timeout: 30 * time.Second}))
		}
		time.Sleep(10 * aMinute)
		for _, l := range locks {
			if err := l.Context().Err(); err != nil {
				t.Fatalf("%s: %v", l.Name(), context.Cause(l.Context()))
			}
			unlock(t, l)
		}
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if n := len(ts.sizes); n < 60 || n > 67 { // 10 s, less up to a tenth
			t.Errorf("%d messages in 10 minutes", n)
		}
		for _, size := range ts.sizes {
			if size != len(locks) {
				t.Errorf("a message for %d locks", size)
			}
		}
	})
}

// TestLocksOfLongTimeoutsAreTouchedSeldom: a short one among them makes for more
// messages, not for more touches of the others; and none comes late.
func TestLocksOfLongTimeoutsAreTouchedSeldom(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		ts := watchTouches(node)
		timeouts := map[uint64]time.Duration{}
		var locks []*client.Lock
		for i, timeout := range []time.Duration{sema.MinTimeout, time.Second, 30 * time.Second, 30 * time.Second, time.Hour} {
			l := lock(t, c, string(rune('a'+i)), client.LockOptions{Timeout: timeout})
			locks, timeouts[l.Token()] = append(locks, l), timeout
		}
		began := time.Now()
		time.Sleep(20 * aMinute)
		ts.mu.Lock()
		touched := 0
		for _, size := range ts.sizes {
			touched += size
		}
		want := 0
		for token, timeout := range timeouts {
			if gap := ts.gaps[token]; gap > timeout/3 {
				t.Errorf("timeout %v: %v between two touches", timeout, gap)
			}
			want += int(time.Since(began) / (timeout / 3))
		}
		ts.mu.Unlock()
		if touched < want || touched > want*115/100 {
			t.Errorf("%d touches, want %d or up to a tenth more", touched, want)
		}
		for _, l := range locks {
			unlock(t, l)
		}
	})
}

// TestShorterTimeoutIsKeptToAtOnce: it need not wait for the beat of the others.
func TestShorterTimeoutIsKeptToAtOnce(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, _ *fakenode.Node, c *client.Client) {
		long := lock(t, c, "long", client.LockOptions{Timeout: time.Hour})
		time.Sleep(aMinute)
		short := lock(t, c, "short", client.LockOptions{Timeout: sema.MinTimeout})
		time.Sleep(aMinute)
		if err := short.Context().Err(); err != nil {
			t.Error(context.Cause(short.Context()))
		}
		unlock(t, short)
		time.Sleep(5 * time.Hour)
		if err := long.Context().Err(); err != nil {
			t.Error(context.Cause(long.Context()))
		}
		unlock(t, long)
	})
}

// TestLockEndsInTimeIfNobodyAnswers: at the moment before the last good request
// was sent, plus the timeout, less the margin.
func TestLockEndsInTimeIfNobodyAnswers(t *testing.T) {
	for _, windDown := range []time.Duration{0, 10 * time.Second} {
		inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
			const slow = 3 * time.Second
			node.Intercept(func(_ context.Context, _ any, apply func() error) error {
				err := apply()
				time.Sleep(slow) // the answer takes its time; the hold's time runs
				return err
			})
			began := time.Now()
			l := lock(t, c, "a", client.LockOptions{Timeout: 30 * time.Second, WindDown: windDown})
			node.Intercept(func(context.Context, any, func() error) error { return fakenode.ErrLost })
			good := began.Add(30*time.Second - sema.DriftMargin(30*time.Second))
			if d := l.Deadline().Sub(good); d < -time.Millisecond || d > time.Millisecond {
				t.Errorf("deadline is off by %v", d)
			}
			<-l.Context().Done()
			if d := time.Until(good.Add(-windDown)); d < -2*time.Millisecond || d > 2*time.Millisecond {
				t.Errorf("wind-down %v: ended %v before its time", windDown, d)
			}
			if cause := context.Cause(l.Context()); !errors.Is(cause, sema.ErrLost) {
				t.Errorf("ended with %v", cause)
			}
			node.Intercept(nil)
			unlock(t, l) // nobody took it meanwhile
		})
	}
}

// TestTouchCountsFromBeforeItWasSent: its answer took its time, and the hold's time
// ran meanwhile.
func TestTouchCountsFromBeforeItWasSent(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		const timeout, slow = 30 * time.Second, 1500 * time.Millisecond
		l := lock(t, c, "a", client.LockOptions{Timeout: timeout})
		var touched time.Time
		node.Intercept(func(_ context.Context, req any, apply func() error) error {
			if _, ok := req.(transport.TouchAllRequest); !ok {
				return apply()
			}
			if !touched.IsZero() {
				return fakenode.ErrLost // nobody answers any more
			}
			touched = time.Now()
			err := apply()
			time.Sleep(slow)
			return err
		})
		<-l.Context().Done()
		want := touched.Add(timeout - sema.DriftMargin(timeout))
		if d := time.Until(want); d < -2*time.Millisecond || d > 2*time.Millisecond {
			t.Errorf("ended %v before its time", d)
		}
		node.Intercept(nil)
		unlock(t, l)
	})
}

func TestLateAnswerDoesNotReviveALock(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		l := lock(t, c, "a", client.LockOptions{Timeout: 3 * time.Second})
		answers := make(chan struct{})
		node.Intercept(func(_ context.Context, req any, apply func() error) error {
			if _, ok := req.(transport.TouchAllRequest); ok {
				err := apply() // in time
				<-answers      // but told too late
				return err
			}
			return apply()
		})
		<-l.Context().Done()
		close(answers)
		time.Sleep(aMinute)
		if !errors.Is(context.Cause(l.Context()), sema.ErrLost) {
			t.Errorf("ended with %v", context.Cause(l.Context()))
		}
		unlock(t, l)
	})
}

func TestLockThatWasTakenAwayEndsWithTheNextTouch(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		l := lock(t, c, "a", client.LockOptions{Timeout: 30 * time.Second})
		other := lock(t, c, "b", client.LockOptions{Timeout: 30 * time.Second})
		node.End("a")
		began := time.Now()
		<-l.Context().Done()
		if d := time.Since(began); d > 10*time.Second || !errors.Is(context.Cause(l.Context()), sema.ErrLost) {
			t.Errorf("after %v: %v", d, context.Cause(l.Context()))
		}
		if err := other.Context().Err(); err != nil {
			t.Errorf("the other lock: %v", err)
		}
		first := l.Unlock(t.Context())
		if again := l.Unlock(t.Context()); !errors.Is(first, sema.ErrLost) || again != first {
			t.Errorf("unlock says %v, then %v", first, again)
		}
		unlock(t, other)
	})
}

func TestUnlockIsIdempotent(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		l := lock(t, c, "a", client.LockOptions{})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { unlock(t, l) })
		}
		wg.Wait()
		if !errors.Is(l.Context().Err(), context.Canceled) || errors.Is(context.Cause(l.Context()), sema.ErrLost) {
			t.Errorf("the context ended with %v", context.Cause(l.Context()))
		}
		next := lock(t, c, "a", client.LockOptions{})
		unlock(t, l) // has no effect on it
		if node.Holder("a").Token != next.Token() {
			t.Error("a second unlock ended somebody else's hold")
		}
		unlock(t, next)
	})
}

// TestUnlockWhoseAnswerWasLost may be called again, and then finds its own work.
func TestUnlockWhoseAnswerWasLost(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		l := lock(t, c, "a", client.LockOptions{})
		node.Intercept(func(_ context.Context, _ any, apply func() error) error {
			_ = apply()
			return fakenode.ErrLost
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.Unlock(ctx); !errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Fatalf("unlock: %v", err)
		}
		node.Intercept(nil)
		unlock(t, l)
	})
}

// TestUnlockDoesNotTryForEver: when the timeout has passed, the hold is gone by
// itself.
func TestUnlockDoesNotTryForEver(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		l := lock(t, c, "a", client.LockOptions{Timeout: 10 * time.Second})
		node.Intercept(func(context.Context, any, func() error) error { return fakenode.ErrLost })
		began := time.Now()
		if err := l.Unlock(context.Background()); !errors.Is(err, sema.ErrOutcomeUnknown) || time.Since(began) > 11*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		node.Intercept(nil)
		unlock(t, l)
	})
}

// TestUnlockWithAContextThatHasEnded lets go of the hold all the same: it is not
// kept alive any longer.
func TestUnlockWithAContextThatHasEnded(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		ts := watchTouches(node)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for i := range 20 {
			l := lock(t, c, fmt.Sprint(i), client.LockOptions{})
			if err := l.Unlock(ended); !errors.Is(err, context.Canceled) || l.Context().Err() == nil {
				t.Errorf("unlock: %v, and the context: %v", err, l.Context().Err())
			}
		}
		time.Sleep(aMinute)
		ts.mu.Lock()
		defer ts.mu.Unlock()
		if len(ts.sizes) != 0 {
			t.Errorf("%d messages kept them alive", len(ts.sizes))
		}
	})
}

// TestLockThatTookLongIsTouchedInTime, also with much time set aside.
func TestLockThatTookLongIsTouchedInTime(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, _ *fakenode.Node, c *client.Client) {
		first := lock(t, c, "a", client.LockOptions{})
		time.AfterFunc(9*time.Second, func() { unlock(t, first) })
		second := lock(t, c, "a", client.LockOptions{Timeout: 30 * time.Second, WindDown: 15 * time.Second})
		time.Sleep(aMinute)
		if err := second.Context().Err(); err != nil {
			t.Errorf("in a healthy cluster: %v", context.Cause(second.Context()))
		}
		unlock(t, second)
	})
}

// TestSlowMessageDoesNotStarveAShortTimeout: the message for a long one hangs when
// a short one comes.
func TestSlowMessageDoesNotStarveAShortTimeout(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		hung := make(chan struct{}, 1)
		long := lock(t, c, "long", client.LockOptions{Timeout: 3 * time.Minute})
		node.Intercept(func(ctx context.Context, req any, apply func() error) error {
			if all, ok := req.(transport.TouchAllRequest); ok && len(all.Holds) == 1 && all.Holds[0].Name == "long" {
				select {
				case hung <- struct{}{}:
				default:
				}
				<-ctx.Done()
				return fakenode.ErrLost
			}
			return apply()
		})
		<-hung
		short := lock(t, c, "short", client.LockOptions{Timeout: time.Second})
		time.Sleep(30 * time.Second)
		if err := short.Context().Err(); err != nil {
			t.Errorf("the short one: %v", context.Cause(short.Context()))
		}
		node.Intercept(nil)
		unlock(t, short)
		unlock(t, long)
	})
}

// slowly makes everything take a while, and be given up by whoever gives up.
func slowly(node *fakenode.Node, d time.Duration) {
	node.Intercept(func(ctx context.Context, _ any, apply func() error) error {
		select {
		case <-time.After(d):
			return apply()
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// TestLocksThatComeAndGoDoNotStarveALongOne: each is shorter than the one that stays.
func TestLocksThatComeAndGoDoNotStarveALongOne(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		slowly(node, 50*time.Millisecond)
		long := lock(t, c, "long", client.LockOptions{Timeout: 30 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), 5*aMinute)
		defer cancel()
		var workers sync.WaitGroup
		for i := range 20 {
			workers.Go(func() {
				time.Sleep(time.Duration(i) * 5 * time.Millisecond)
				for ctx.Err() == nil {
					if l, err := c.TryLock(ctx, fmt.Sprint(i), client.LockOptions{Timeout: 20 * time.Second}); err == nil {
						time.Sleep(100 * time.Microsecond)
						_ = l.Unlock(context.Background())
					}
				}
			})
		}
		workers.Wait()
		if err := long.Context().Err(); err != nil {
			t.Errorf("in a healthy cluster: %v", context.Cause(long.Context()))
		}
		unlock(t, long)
	})
}

// TestSlowAnswersAreWaitedFor, if the timeout leaves time for them.
func TestSlowAnswersAreWaitedFor(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		slowly(node, 200*time.Millisecond)
		l := lock(t, c, "a", client.LockOptions{Timeout: time.Second})
		time.Sleep(aMinute)
		if err := l.Context().Err(); err != nil {
			t.Errorf("in a healthy cluster: %v", context.Cause(l.Context()))
		}
		unlock(t, l)
	})
}

func TestLockWaitsItsTurnAndNoLonger(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		first := lock(t, c, "a", client.LockOptions{Owner: "first"})
		var held *sema.HeldError
		if _, err := c.TryLock(t.Context(), "a", client.LockOptions{}); !errors.As(err, &held) || held.Info.Owner != "first" {
			t.Errorf("without waiting: %v", err)
		}
		began := time.Now()
		_, err := c.Lock(t.Context(), "a", client.LockOptions{Wait: 5 * time.Second})
		if !errors.As(err, &held) || held.Info.Owner != "first" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for 5 s: %v", err)
		}
		if d := time.Since(began); d != 5*time.Second || len(node.Line("a")) != 0 {
			t.Errorf("waited for %v, and in line are %v", d, node.Line("a"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err = c.Lock(ctx, "a", client.LockOptions{}); !errors.Is(err, context.Canceled) || errors.Is(err, sema.ErrHeld) {
			t.Errorf("cancelled: %v", err)
		}
		time.AfterFunc(aMinute, func() { unlock(t, first) })
		second := lock(t, c, "a", client.LockOptions{Owner: "second", Wait: time.Hour})
		if d := time.Until(second.Deadline()); d < 29*time.Second {
			t.Errorf("it is good for %v, after a long wait", d)
		}
		unlock(t, second)
	})
}

// TestContextOfTheCallEndsTheWorkNotTheHold: the hold is for Unlock to end.
func TestContextOfTheCallEndsTheWorkNotTheHold(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		ctx, cancel := context.WithCancel(t.Context())
		l, err := c.Lock(ctx, "a", client.LockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := l.Context().Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("the work's context: %v", err)
		}
		time.Sleep(10 * aMinute)
		if node.Holder("a").UpdatedAt.Before(time.Now().Add(-11 * time.Second)) {
			t.Error("the hold is not kept any more")
		}
		unlock(t, l)
	})
}

func TestClosedClientTellsItsLocksInTime(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, _ *fakenode.Node, c *client.Client) {
		l := lock(t, c, "a", client.LockOptions{Timeout: 30 * time.Second})
		time.Sleep(20 * time.Second) // two touches
		c.Close()
		began := time.Now()
		<-l.Context().Done()
		if d := time.Since(began); d > 30*time.Second || !errors.Is(context.Cause(l.Context()), sema.ErrLost) {
			t.Errorf("after %v: %v", d, context.Cause(l.Context()))
		}
		if err := l.Unlock(t.Context()); !errors.Is(err, sema.ErrClosed) {
			t.Errorf("unlock after close: %v", err)
		}
		if _, err := c.Lock(t.Context(), "b", client.LockOptions{}); !errors.Is(err, sema.ErrClosed) {
			t.Errorf("lock after close: %v", err)
		}
	})
}

func TestLockOptionsAreChecked(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		for _, opts := range []client.LockOptions{
			{Timeout: time.Millisecond},
			{Timeout: 8 * 24 * time.Hour},
			{Owner: "a\nb"},
			{Wait: -1},
			{WindDown: -1},
			{Timeout: 10 * time.Second, WindDown: 6 * time.Second},
		} {
			if _, err := c.Lock(t.Context(), "a", opts); !errors.Is(err, sema.ErrInvalid) {
				t.Errorf("%+v: %v", opts, err)
			}
			if _, err := c.TryLock(t.Context(), "a", opts); !errors.Is(err, sema.ErrInvalid) {
				t.Errorf("%+v: %v", opts, err)
			}
		}
		if _, err := c.Lock(t.Context(), "", client.LockOptions{}); !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("no name: %v", err)
		}
		if n := len(node.Requests()); n != 0 {
			t.Errorf("%d requests were sent", n)
		}
	})
}

// TestManyLocksGoInFewMessages: no message is larger than the wire takes.
func TestManyLocksGoInFewMessages(t *testing.T) {
	inVirtualTime(t, func(t *testing.T, node *fakenode.Node, c *client.Client) {
		ts := watchTouches(node)
		long := make([]byte, sema.MaxNameBytes-3)
		for i := range long {
			long[i] = 'x'
		}
		var locks []*client.Lock
		for i := range 4000 { // 2 MB of names
			locks = append(locks, lock(t, c, string(long)+string([]byte{'a' + byte(i%16), 'a' + byte(i/16%16), 'a' + byte(i/256)}), client.LockOptions{}))
		}
		time.Sleep(11 * time.Second)
		ts.mu.Lock()
		sizes := ts.sizes
		ts.mu.Unlock()
		total := 0
		for _, size := range sizes {
			if total += size; size*(sema.MaxNameBytes+24) > transport.MaxMessageBytes {
				t.Errorf("a message for %d locks", size)
			}
		}
		if total != len(locks) || len(sizes) > 3 {
			t.Errorf("%d messages with %d locks", len(sizes), total)
		}
		for _, l := range locks {
			unlock(t, l)
		}
	})
}
