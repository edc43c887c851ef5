package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

func TestOneLivingEndpointIsEnough(t *testing.T) {
	node := serve(t, nil)
	var failed []string
	c := dialWith(t, client.Config{Endpoints: []string{nobody(t), blackHole(t), node.addr}, TryTimeout: 500 * time.Millisecond,
		Logger: onFailure(func(line string) {
			if !strings.Contains(line, node.addr) {
				failed = append(failed, line)
			}
		})})
	mustAcquire(t, c, "a")
	for range 20 {
		if _, err := c.Get(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	}
	if len(failed) != 2 {
		t.Errorf("tries at the two dead ones, want one each:\n%s", strings.Join(failed, ""))
	}
}

func TestAHangingNodeIsLeftForAnother(t *testing.T) {
	hanging, node := serve(t, nil), serve(t, nil)
	c := dialWith(t, client.Config{Endpoints: []string{hanging.addr, node.addr}, TryTimeout: 400 * time.Millisecond})
	if _, err := c.Status(within(t, 20*time.Second)); err != nil { // connects, however long it takes
		t.Error(err)
	}
	before := len(hanging.Requests())
	hanging.hangs()
	mustAcquire(t, c, "a")
	for range 10 {
		if _, err := c.Get(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	}
	if n := len(hanging.Requests()) - before; n != 1 {
		t.Errorf("the hanging node was asked %d times", n)
	}
}

// With little time left, a node that hangs does not get all of it.
func TestATryLeavesTimeForAnother(t *testing.T) {
	hanging, node := serve(t, nil), serve(t, nil)
	hanging.hangs()
	c := dialWith(t, client.Config{Endpoints: []string{hanging.addr, node.addr}, TryTimeout: time.Hour})
	if _, err := c.Acquire(within(t, time.Second), "a", "me", timeout); err != nil {
		t.Error(err)
	}
}

func TestAHintIsFollowedAndRemembered(t *testing.T) {
	follower, leader := serve(t, nil), serve(t, nil)
	follower.follows(leader.addr, leader.addr)
	// An hour's pause after the first failure: the hint is followed without.
	c := dialWith(t, client.Config{Endpoints: []string{follower.addr}, BackoffBase: time.Hour})
	mustAcquire(t, c, "a")
	for range 10 {
		if _, err := c.Get(within(t, 20*time.Second), "a"); err != nil {
			t.Error(err)
		}
	}
	if n := len(follower.Requests()); n != 1 {
		t.Errorf("the follower was asked %d times", n)
	}
	if retry := leader.acquires()[0].Retry; retry {
		t.Error("a call that was refused counts as one that may have taken effect")
	}
}

func TestALeaderThatLedToAnotherIsLeftAgain(t *testing.T) {
	first, second := serve(t, nil), serve(t, nil)
	second.follows(first.addr, first.addr)
	c := dial(t, second.addr)
	mustAcquire(t, c, "a")
	second.Intercept(nil)
	first.kill()
	mustAcquire(t, c, "b") // falls back to its only endpoint, which leads now
}

// Two nodes take each other for the leader: the client neither asks in circles
// as fast as it can nor gives up.
func TestHintsInACircle(t *testing.T) {
	one, two := serve(t, nil), serve(t, nil)
	one.follows(two.addr, two.addr)
	two.follows(one.addr, one.addr)
	c := dialWith(t, client.Config{Endpoints: []string{one.addr, two.addr}, BackoffBase: 50 * time.Millisecond})
	_, err := c.Acquire(within(t, 500*time.Millisecond), "a", "me", timeout)
	if !errors.Is(err, sema.ErrNoLeader) {
		t.Errorf("got %v", err)
	}
	if n := len(one.Requests()) + len(two.Requests()); n > 100 {
		t.Errorf("asked %d times in half a second", n)
	}
	two.Intercept(nil)
	mustAcquire(t, c, "a")
}

// A node that passes calls on says where they went, and the client goes there.
func TestTheLeaderIsAskedDirectlyOnceItIsKnown(t *testing.T) {
	follower, leader := serve(t, passing(t)), serve(t, nil)
	follower.follows(leader.addr, leader.addr)
	c := dial(t, follower.addr)
	mustAcquire(t, c, "a")
	limit := time.Now().Add(20 * time.Second)
	for inARow := 0; inARow < 10; inARow++ {
		before := len(follower.Requests())
		if _, err := c.Get(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if len(follower.Requests()) != before {
			inARow = 0
		}
		if time.Now().After(limit) {
			t.Fatal("waited 20s for the client to ask the leader directly")
		}
	}
	leader.kill()
	follower.Intercept(nil)
	mustAcquire(t, c, "b") // and comes back when it is gone
}

// The leader is told of, but cannot be reached from here: calls go on through the
// node that passes them on, and none of them waits for the leader's address.
func TestALeaderOutOfReachCostsNothing(t *testing.T) {
	for what, unreachable := range map[string]string{"refused": nobody(t), "silent": blackHole(t), "no address": "leader.invalid"} {
		t.Run(what, func(t *testing.T) {
			follower, leader := serve(t, passing(t)), serve(t, nil)
			follower.follows(leader.addr, unreachable)
			// An hour's pause after a failure: no try may fail.
			c := dialWith(t, client.Config{Endpoints: []string{follower.addr}, BackoffBase: time.Hour})
			mustAcquire(t, c, "a")
			for range 200 {
				if _, err := c.Get(within(t, 10*time.Second), "a"); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := len(follower.Requests()), len(leader.Requests()); got != want {
				t.Errorf("the follower was asked %d times, and passed on %d", got, want)
			}
		})
	}
}

// A node that does not pass calls on names a leader that cannot be reached, while
// another endpoint can answer.
func TestAHintThatLeadsNowhereIsNotFollowedTwice(t *testing.T) {
	misled, node := serve(t, nil), serve(t, nil)
	nowhere := blackHole(t)
	misled.follows(nowhere, nowhere)
	followed := 0
	c := dialWith(t, client.Config{Endpoints: []string{misled.addr, node.addr}, TryTimeout: 400 * time.Millisecond, BackoffMax: 30 * time.Millisecond,
		Logger: onFailure(func(line string) {
			if strings.Contains(line, "endpoint="+nowhere) {
				followed++
			}
		})})
	mustAcquire(t, c, "a")
	node.answers(sema.ErrClosed, sema.ErrClosed, sema.ErrClosed) // back to the other one, three times
	if _, err := c.Get(within(t, 20*time.Second), "a"); err != nil {
		t.Error(err)
	}
	if n := len(misled.Requests()); n < 3 {
		t.Errorf("the node that is misled was asked %d times, want 3 or more: the test does not show what it should", n)
	}
	if followed != 1 {
		t.Errorf("the hint was followed %d times", followed)
	}
}

func TestOverloadedIsAskedLater(t *testing.T) {
	node, other := serve(t, nil), serve(t, nil)
	node.answers(sema.ErrOverloaded, sema.ErrOverloaded, sema.ErrOverloaded)
	c := dial(t, node.addr, other.addr)
	mustAcquire(t, c, "a")
	requests := node.acquires()
	if len(requests) != 4 {
		t.Errorf("asked %d times, want 4", len(requests))
	}
	for _, req := range requests {
		if req.Attempt != requests[0].Attempt || req.Retry {
			t.Errorf("asked %+v after %+v, want the same attempt, which had no effect yet", req, requests[0])
		}
	}
	if n := len(other.Requests()); n != 0 {
		t.Errorf("the other node was asked %d times: it would only pass it on", n)
	}
}

func TestOverloadedIsNotAskedAllTheTime(t *testing.T) {
	node := serve(t, nil)
	node.Intercept(func(_ context.Context, _ any, _ func() error) error { return sema.ErrOverloaded })
	c := dialWith(t, client.Config{Endpoints: []string{node.addr}, BackoffBase: 50 * time.Millisecond})
	_, err := c.Acquire(within(t, 600*time.Millisecond), "a", "me", timeout)
	if !errors.Is(err, sema.ErrNoLeader) {
		t.Errorf("got %v", err)
	}
	if n := len(node.Requests()); n > 40 {
		t.Errorf("asked %d times in 600 ms with pauses of 25 ms and more on average", n)
	}
}

func TestANodeThatStopsIsLeft(t *testing.T) {
	stopping, node := serve(t, nil), serve(t, nil)
	stopping.Intercept(func(_ context.Context, _ any, _ func() error) error { return sema.ErrClosed })
	c := dial(t, stopping.addr, node.addr)
	mustAcquire(t, c, "a")
	mustAcquire(t, c, "b")
	if n := len(stopping.Requests()); n != 1 {
		t.Errorf("the stopping node was asked %d times", n)
	}
}

// The only node is restarted at the same address.
func TestAnAddressThatIsAvoidedIsUsedOnceItIsBack(t *testing.T) {
	follower, leader := serve(t, nil), serve(t, nil)
	follower.follows(leader.addr, leader.addr)
	c := dial(t, follower.addr)
	mustAcquire(t, c, "a")
	leader.kill()
	if _, err := c.Get(within(t, 300*time.Millisecond), "a"); !errors.Is(err, sema.ErrNoLeader) {
		t.Errorf("without a leader: %v", err)
	}
	back := serveAt(t, leader.addr, nil)
	start := time.Now()
	mustAcquire(t, c, "b")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v to come back", took)
	}
	if len(back.Requests()) == 0 {
		t.Error("somebody else answered")
	}
}
