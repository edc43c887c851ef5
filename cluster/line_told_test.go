package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/transport"
)

// What a leader takes back from those who are gone, it must never take from those
// who were told. These tests are about calls that come late, twice and crossed.

func shortLinger(c *cluster.Config) { c.WaiterLinger = 200 * time.Millisecond }

// requestOf is the acquire of a client of its own.
func requestOf(name string, client, seq uint64, retry bool) transport.AcquireRequest {
	return transport.AcquireRequest{Name: name, Owner: "owner", Timeout: time.Minute, Retry: retry,
		Attempt: sema.Attempt{Client: sema.ClientID{1, byte(client), byte(client >> 8)}, Seq: seq, LowestOpen: seq}}
}

// forgotten waits until the leader has dealt with everybody who left.
func forgotten(t *testing.T, n *cluster.Node) {
	t.Helper()
	eventually(t, "the leader knows of no waiter any more", func() error {
		if known := n.Waiters(); known != 0 {
			return fmt.Errorf("it knows %d", known)
		}
		return nil
	})
}

func wantHeld(t *testing.T, n *cluster.Node, name string, token uint64) {
	t.Helper()
	if info, err := n.Get(t.Context(), name); err != nil || info.Token != token {
		t.Errorf("%s, whose owner was told of token %d: %+v, %v", name, token, info, err)
	}
}

func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestLateDuplicateTakesNothingBack: a copy of a wait comes when the first was
// answered, and its connection is gone by then.
func TestLateDuplicateTakesNothingBack(t *testing.T) {
	n := startHarness(t, 1, shortLinger).leader()
	for i := range uint64(50) {
		name := fmt.Sprint("a", i)
		info, err := n.Backend().Wait(t.Context(), requestOf(name, i, 1, false), nil)
		if err != nil || info.Status != sema.Acquired {
			t.Fatalf("%+v, %v", info, err)
		}
		ctx, cancel := over(), context.CancelFunc(func() {})
		if i%2 == 1 { // it may be decided before its end is seen
			ctx, cancel = context.WithTimeout(t.Context(), time.Duration(i)*20*time.Microsecond)
		}
		_, _ = n.Backend().Wait(ctx, requestOf(name, i, 1, true), nil)
		cancel()
		defer wantHeld(t, n, name, info.Token)
	}
	forgotten(t, n)
}

// TestCopyThatCrossesItsOwnWait: the first is on its way to the disk when a copy
// comes whose connection is gone. Either the first is told and keeps the hold, or it
// is not told.
func TestCopyThatCrossesItsOwnWait(t *testing.T) {
	n := startHarness(t, 1, shortLinger).leader()
	for i := range uint64(300) {
		name := fmt.Sprint("a", i)
		told := make(chan uint64, 1)
		go func() {
			info, err := n.Backend().Wait(t.Context(), requestOf(name, i, 1, false), nil)
			if err != nil {
				info.Token = 0
			}
			told <- info.Token
		}()
		for began := time.Now(); time.Since(began) < time.Duration(i%30)*20*time.Microsecond; {
			runtime.Gosched()
		}
		_, _ = n.Backend().Wait(over(), requestOf(name, i, 1, true), nil)
		if token := <-told; token != 0 {
			defer wantHeld(t, n, name, token)
		}
	}
	forgotten(t, n)
}

// TestAcquireAfterAnAbandonedWait: what a plain acquire is told stays true,
// whatever became of the wait of the same attempt, and whether the acquire says
// that it is a retry or not.
func TestAcquireAfterAnAbandonedWait(t *testing.T) {
	n := startHarness(t, 1, shortLinger).leader()
	told := 0
	for i := range uint64(200) {
		name := fmt.Sprint("a", i)
		ctx, cancel := context.WithCancel(t.Context())
		if i%4 == 0 {
			cancel() // before it was decided
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = n.Backend().Wait(ctx, requestOf(name, i, 1, false), nil)
		}()
		go cancel()
		info, err := n.Backend().Acquire(t.Context(), requestOf(name, i, 1, i%2 == 0))
		<-ended
		if err == nil && info.Status == sema.Acquired {
			told++
			defer wantHeld(t, n, name, info.Token)
		}
	}
	forgotten(t, n)
	if told < 100 {
		t.Errorf("only %d of 200 acquires were told that it is theirs", told)
	}
}

// TestGrantThatNobodyWasToldOfIsReleased: the connection broke while it was on its
// way. Its owner does not come back, and need not undo anything.
func TestGrantThatNobodyWasToldOfIsReleased(t *testing.T) {
	n := startHarness(t, 1, shortLinger).leader()
	lost := map[string]bool{}
	for i := range uint64(100) {
		name := fmt.Sprint("a", i)
		held := acquire(t, n, name, "holder", time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := n.Backend().Wait(ctx, requestOf(name, i, 1, false), nil)
			ended <- err
		}()
		for len(lineOf(t, n, name)) == 0 {
			runtime.Gosched()
		}
		last := n.AppliedIndex()
		go func() {
			_, _ = n.Backend().Release(context.Background(), transport.ReleaseRequest{Name: name, Token: held.Token})
		}()
		for n.AppliedIndex() == last {
			runtime.Gosched()
		}
		cancel()
		if err := <-ended; err != nil {
			lost[name] = true
		}
	}
	forgotten(t, n)
	for name := range lost {
		if info, err := n.Get(t.Context(), name); !errors.Is(err, sema.ErrNotFound) {
			t.Errorf("%s, of which nobody was told: %+v, %v", name, info, err)
		}
	}
	t.Logf("%d of 100 were lost on their way", len(lost))
}

// TestNoTicketIsOrphaned: whatever odd calls a client makes under an attempt that
// waits, its ticket goes when the client does.
func TestNoTicketIsOrphaned(t *testing.T) {
	for name, odd := range map[string]func(t *testing.T, n *cluster.Node, leave func(), ended chan error){
		"it asks for another name under the same attempt": func(t *testing.T, n *cluster.Node, leave func(), ended chan error) {
			req := requestOf("b", 0, 1, false)
			req.Attempt.Client = sema.ClientID{1}
			if _, err := n.Backend().Wait(t.Context(), req, nil); !errors.Is(err, sema.ErrInvalid) {
				t.Errorf("another name: %v", err)
			}
			if line := lineOf(t, n, "a"); !slices.Equal(line, []string{"odd"}) {
				t.Errorf("the line afterwards: %v", line)
			}
			leave()
			<-ended
		},
		"it says that it does not want the answer, and asks again": func(t *testing.T, n *cluster.Node, leave func(), ended chan error) {
			req := requestOf("c", 0, 2, false)
			req.Attempt.Client = sema.ClientID{1}
			if _, err := n.Backend().Acquire(t.Context(), req); err != nil {
				t.Error(err)
			}
			again := requestOf("a", 0, 1, true)
			again.Attempt.Client = sema.ClientID{1}
			if _, err := n.Backend().Wait(t.Context(), again, nil); !errors.Is(err, sema.ErrAttemptFinished) {
				t.Errorf("again: %v", err)
			}
			<-ended // its client has given up on it
		},
		"it asks without waiting, and loses that answer": func(t *testing.T, n *cluster.Node, leave func(), ended chan error) {
			leave()
			<-ended
			again := requestOf("a", 0, 1, true)
			again.Attempt.Client = sema.ClientID{1}
			_, _ = n.Backend().Acquire(over(), again)
		},
		"it asks without waiting, and is told that it waits": func(t *testing.T, n *cluster.Node, leave func(), ended chan error) {
			leave()
			<-ended
			again := requestOf("a", 0, 1, true)
			again.Attempt.Client = sema.ClientID{1}
			if info, err := n.Backend().Acquire(t.Context(), again); err != nil || info.Status != sema.OwnedBySomeoneElse || info.Waiting != 1 {
				t.Errorf("%+v, %v", info, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := startHarness(t, 1, shortLinger).leader()
			acquire(t, n, "a", "holder", time.Minute)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			odd(t, n, leave, waitAt(ctx, t, n, "a", "odd", 1, false))
			eventually(t, "the line is empty", func() error {
				if line := lineOf(t, n, "a"); len(line) != 0 {
					return fmt.Errorf("in line: %v", line)
				}
				return nil
			})
			forgotten(t, n)
		})
	}
}

func TestWaitWhoseOwnerPanicsLeavesTheLine(t *testing.T) {
	n := startHarness(t, 1, shortLinger).leader()
	acquire(t, n, "a", "holder", time.Minute)
	func() {
		defer func() { _ = recover() }()
		_, _ = n.AcquireWait(t.Context(), "a", "me", time.Minute, func(sema.Place) { panic("oh") })
	}()
	eventually(t, "the line is empty", func() error {
		if line := lineOf(t, n, "a"); len(line) != 0 {
			return fmt.Errorf("in line: %v", line)
		}
		return nil
	})
	forgotten(t, n)
}

// TestClosingALocalClientEndsItsWaits as closing a connection would.
func TestClosingALocalClientEndsItsWaits(t *testing.T) {
	n := startHarness(t, 1, shortLinger).leader()
	acquire(t, n, "a", "holder", time.Minute)
	c := n.Client()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Lock(context.Background(), "a", client.LockOptions{})
		ended <- err
	}()
	eventually(t, "it waits", func() error {
		if len(lineOf(t, n, "a")) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, sema.ErrClosed) {
		t.Errorf("the wait ended with %v", err)
	}
	forgotten(t, n)
	if line := lineOf(t, n, "a"); len(line) != 0 {
		t.Errorf("in line: %v", line)
	}
}
