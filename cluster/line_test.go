package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/internal/turns"
	"github.com/semanode/sema/transport"
)

func TestLineIsFirstComeFirstServed(t *testing.T) {
	h := startHarness(t, 3, nil)
	for _, from := range []*cluster.Node{h.leader(), h.follower()} {
		c := from.Client()
		taken := turns.Take(t, c, "fifo-"+from.ID(), 64, 64*20, nil)
		turns.CheckOrder(t, taken)
		turns.CheckFair(t, taken)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLineOutlivesTwoLeaders kills the leader while it hands over, twice. Those in
// line keep their places and those who hold keep their holds.
func TestLineOutlivesTwoLeaders(t *testing.T) {
	t.Parallel()
	h := newHarness(t, 3, nil)
	var endpoints []string
	for id, cfg := range h.cfgs {
		cfg.GRPCAddr = freeAddr(t)
		h.cfgs[id] = cfg
		endpoints = append(endpoints, cfg.GRPCAddr)
		h.start(id)
	}
	h.leader()
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const waiters, all = 64, 64 * 20
	killed := 0
	taken := turns.Take(t, c, "a", waiters, all, func(n int) { // one at a time: it holds the lock
		if n == all/3 || n == all*2/3 {
			id := h.leader().ID()
			h.kill(id)
			h.leader()
			h.start(id)
			killed++
		}
	})
	if killed != 2 {
		t.Errorf("%d leaders were killed", killed)
	}
	turns.CheckOrder(t, taken)
}

// TestHandOverIsOneEntry counts the entries of the log.
func TestHandOverIsOneEntry(t *testing.T) {
	const waiters = 50
	h := startHarness(t, 3, nil)
	leader := h.leader()
	ctx := t.Context()
	c := leader.Client()
	defer c.Close()
	lock, err := c.Lock(ctx, "a", client.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan *client.Lock)
	for range waiters {
		go func() {
			lock, err := c.Lock(ctx, "a", client.LockOptions{})
			if err != nil {
				t.Error(err)
			}
			next <- lock
		}()
	}
	eventually(t, "all are in line", func() error {
		info, err := c.GetStale(ctx, "a")
		if err == nil && info.Waiting != waiters {
			err = fmt.Errorf("%d of %d", info.Waiting, waiters)
		}
		return err
	})
	before := leader.LastIndex()
	for range waiters {
		if err := lock.Unlock(ctx); err != nil {
			t.Fatal(err)
		}
		last := lock.Token()
		if lock = <-next; lock.Token() <= last {
			t.Fatalf("token %d after %d", lock.Token(), last)
		}
	}
	if n := leader.LastIndex() - before; n != waiters {
		t.Errorf("%d hand-overs took %d entries", waiters, n)
	}
	if err := lock.Unlock(ctx); err != nil {
		t.Error(err)
	}
}

// TestOverdueHoldInTheWayEndsAtItsDeadline: the leader ends it by itself, not a
// moment before, and gives it to the head of the line.
func TestOverdueHoldInTheWayEndsAtItsDeadline(t *testing.T) {
	const timeout = 400 * time.Millisecond
	h := startHarness(t, 3, nil)
	c := h.leader().Client()
	defer c.Close()
	for _, touched := range []bool{false, true} {
		name := fmt.Sprintf("a-%v", touched)
		dead := acquire(t, c.Fork(), name, "dies", timeout)
		wait := make(chan sema.Info, 1)
		go func() {
			info, err := c.AcquireWait(t.Context(), name, "next", time.Minute, nil)
			if err != nil {
				t.Error(err)
			}
			wait <- info
		}()
		eventually(t, "somebody waits", func() error {
			info, err := c.GetStale(t.Context(), name)
			if err == nil && info.Waiting == 0 {
				err = errors.New("nobody")
			}
			return err
		})
		if touched {
			var err error
			if dead, err = c.TouchToken(t.Context(), name, dead.Token); err != nil {
				t.Fatal(err)
			}
		}
		got := <-wait
		// The wall clock and the cluster's may be a little apart.
		late := got.CreatedAt.Sub(dead.ExpiresAt)
		if got.Token <= dead.Token || late < -50*time.Millisecond || late > 350*time.Millisecond {
			t.Errorf("touched %v: granted %v after the deadline of the hold before", touched, late)
		}
	}
}

// TestThousandCancelledWaitsLeaveNothing: no ticket, no hold, no goroutine, nothing
// in the leader's memory.
func TestThousandCancelledWaitsLeaveNothing(t *testing.T) {
	h := startHarness(t, 3, nil)
	c := h.follower().Client()
	defer c.Close()
	lock, err := c.Lock(t.Context(), "a", client.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	var wg sync.WaitGroup
	for i := range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			defer cancel()
			_, err := c.Lock(ctx, "a", client.LockOptions{Notify: func(sema.Place) {
				if i%2 == 0 {
					cancel() // as soon as it has its place
				}
			}})
			if !errors.Is(err, context.Canceled) || errors.Is(err, sema.ErrOutcomeUnknown) {
				t.Errorf("wait %d: %v", i, err)
			}
		})
		if i%2 == 1 {
			time.AfterFunc(time.Duration(i)*time.Millisecond, cancel)
		}
	}
	wg.Wait()
	ignore := []goleak.Option{before}
	for _, late := range []string{ // what nodes have whether anybody waits or not, and may have started since
		"hashicorp/raft.(*NetworkTransport).handleConn", "hashicorp/raft.(*Raft).pipelineDecode", "hashicorp/raft.(*netPipeline).decodeResponses",
		"semanode/sema/cluster.(*pipeline).forward", "semanode/sema/cluster.(*office).promote", "semanode/sema/cluster.(*office).watchDeadlines",
		"semanode/sema/cluster.(*office).propose", "semanode/sema/cluster.(*office).survey", "semanode/sema/cluster.(*office).watchLines", "semanode/sema/cluster.(*office).census",
		"semanode/sema/client.(*keeper).watch", // the lock's
	} {
		ignore = append(ignore, goleak.IgnoreAnyFunction("github.com/"+late))
	}
	goleak.VerifyNone(t, ignore...)
	info, err := c.Get(t.Context(), "a")
	if err != nil || info.Waiting != 0 || info.Token != lock.Token() {
		t.Errorf("in the end: %+v, %v", info, err)
	}
	if err := lock.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := c.Get(t.Context(), "a"); !errors.Is(err, sema.ErrNotFound) {
		t.Errorf("after the unlock: %v", err)
	}
	forgotten(t, h.leader())
}

// TestGrantThatCrossesACancellationIsGivenBack cancels at the very moment of the
// hand-over, and when it has just been decided, over and over.
func TestGrantThatCrossesACancellationIsGivenBack(t *testing.T) {
	h := startHarness(t, 3, nil)
	c := h.follower().Client()
	defer c.Close()
	won, crossed := 0, 0
	last := uint64(0)
	for i := range 100 {
		lock, err := c.Lock(t.Context(), "a", client.LockOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if last != 0 && lock.Token() > last+1 {
			crossed++ // there was another grant since
		}
		last = lock.Token()
		ctx, cancel := context.WithCancel(t.Context())
		queued := make(chan struct{})
		result := make(chan *client.Lock)
		go func() {
			lock, _ := c.Lock(ctx, "a", client.LockOptions{Notify: func(sema.Place) { close(queued) }})
			result <- lock
		}()
		<-queued
		if i%2 == 0 {
			go cancel()
		}
		if err := lock.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
		cancel()
		if lock := <-result; lock != nil {
			won++
			last = lock.Token()
			if err := lock.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if info, err := c.Get(t.Context(), "a"); !errors.Is(err, sema.ErrNotFound) {
			t.Fatalf("left behind: %+v, %v", info, err)
		}
	}
	if t.Logf("of 100, the grant won %d times and crossed %d times", won, crossed); won+crossed == 0 {
		t.Error("no grant crossed a cancellation")
	}
}

// waitAt makes a node wait for an attempt, until ctx ends, and returns when it has
// a place.
func waitAt(ctx context.Context, t *testing.T, n *cluster.Node, name, owner string, seq uint64, retry bool) (result chan error) {
	t.Helper()
	result = make(chan error, 1)
	before := n.Entered()
	go func() {
		_, err := n.Backend().Wait(ctx, transport.AcquireRequest{Name: name, Owner: owner, Timeout: time.Minute, Retry: retry,
			Attempt: sema.Attempt{Client: sema.ClientID{byte(seq)}, Seq: seq, LowestOpen: seq}}, nil)
		result <- err
	}()
	eventually(t, owner+" is in line", func() error {
		if n.Entered() <= before {
			return errors.New("not known")
		}
		line := lineOf(t, n, name)
		if !slices.Contains(line, owner) {
			return fmt.Errorf("the line is %v", line)
		}
		return nil
	})
	return result
}

func lineOf(t *testing.T, n *cluster.Node, name string) []string {
	t.Helper()
	got, err := n.Backend().Get(t.Context(), transport.GetRequest{Name: name, Stale: true, Line: 100})
	if err != nil {
		t.Fatal(err)
	}
	var owners []string
	for _, ticket := range got.Line {
		owners = append(owners, ticket.Owner)
	}
	return owners
}

// TestLostConnectionKeepsItsPlaceForAWhile: who comes back with the same attempt
// stands where it stood; who does not loses the place.
func TestLostConnectionKeepsItsPlaceForAWhile(t *testing.T) {
	h := startHarness(t, 1, func(c *cluster.Config) { c.WaiterLinger = 500 * time.Millisecond })
	n := h.leader()
	acquire(t, n, "a", "holder", time.Minute)
	first, lose := context.WithCancel(t.Context())
	lost := waitAt(first, t, n, "a", "first", 1, false)
	waitAt(t.Context(), t, n, "a", "second", 2, false)
	lose()
	if err := <-lost; !errors.Is(err, sema.ErrOutcomeUnknown) {
		t.Fatalf("the first, whose place stands: %v", err)
	}
	again, loseAgain := context.WithCancel(t.Context())
	waitAt(again, t, n, "a", "first", 1, true)
	if line := lineOf(t, n, "a"); !slices.Equal(line, []string{"first", "second"}) {
		t.Fatalf("the line after it came back: %v", line)
	}
	loseAgain()
	eventually(t, "the first is cancelled", func() error {
		if line := lineOf(t, n, "a"); !slices.Equal(line, []string{"second"}) {
			return fmt.Errorf("the line is %v", line)
		}
		return nil
	})
	waitAt(t.Context(), t, n, "a", "first", 1, true)
	if line := lineOf(t, n, "a"); !slices.Equal(line, []string{"second", "first"}) {
		t.Fatalf("the line after it came back too late: %v", line)
	}
}

// TestGrantToALostConnectionIsReleased: the place was kept, the grant came, nobody
// came back for it.
func TestGrantToALostConnectionIsReleased(t *testing.T) {
	h := startHarness(t, 1, func(c *cluster.Config) { c.WaiterLinger = 300 * time.Millisecond })
	n := h.leader()
	acquire(t, n, "a", "holder", time.Minute)
	ctx, lose := context.WithCancel(t.Context())
	lost := waitAt(ctx, t, n, "a", "gone", 1, false)
	next := waitAt(t.Context(), t, n, "a", "next", 2, false)
	lose()
	<-lost
	if err := n.Release(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if info, err := n.Get(t.Context(), "a"); err != nil || info.Owner != "gone" {
		t.Fatalf("while its place was kept: %+v, %v", info, err)
	}
	if err := <-next; err != nil {
		t.Fatal(err)
	}
}

// TestDeadlineOfACallGivesUpThePlaceAtOnce: there is nobody to come back.
func TestDeadlineOfACallGivesUpThePlaceAtOnce(t *testing.T) {
	h := startHarness(t, 1, func(c *cluster.Config) { c.WaiterLinger = time.Hour })
	n := h.leader()
	acquire(t, n, "a", "holder", time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	<-waitAt(ctx, t, n, "a", "impatient", 1, false)
	eventually(t, "the place is given up", func() error {
		if line := lineOf(t, n, "a"); len(line) != 0 {
			return fmt.Errorf("the line is %v", line)
		}
		return nil
	})
}

// TestNewLeaderCancelsWhoDoesNotComeBack: after a grace, both those in line and
// those who were granted meanwhile; who came back keeps its place.
func TestNewLeaderCancelsWhoDoesNotComeBack(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, func(c *cluster.Config) { c.WaiterGrace = 3 * time.Second; c.WaiterLinger = time.Hour })
	old := h.leader()
	acquire(t, old, "a", "holder", time.Minute)
	held := acquire(t, old, "b", "holder", time.Minute)
	for i, owner := range []string{"dead", "alive", "dead too"} {
		waitAt(t.Context(), t, old, "a", owner, uint64(i+1), false)
	}
	waitAt(t.Context(), t, old, "b", "dead and granted", 4, false)
	h.kill(old.ID())
	leader := h.leader()
	alive := waitAt(t.Context(), t, leader, "a", "alive", 2, true)
	if line := lineOf(t, leader, "a"); !slices.Equal(line, []string{"dead", "alive", "dead too"}) {
		t.Fatalf("the line at the new leader: %v", line)
	}
	if _, err := leader.Backend().Release(t.Context(), transport.ReleaseRequest{Name: "b", Token: held.Token}); err != nil {
		t.Fatal(err)
	}
	if info, err := leader.Get(t.Context(), "b"); err != nil || info.Owner != "dead and granted" {
		t.Fatalf("b within the grace: %+v, %v", info, err)
	}
	eventually(t, "the dead are cancelled", func() error {
		line := lineOf(t, leader, "a")
		_, err := leader.Backend().Get(t.Context(), transport.GetRequest{Name: "b", Stale: true})
		if !slices.Equal(line, []string{"alive"}) || !errors.Is(err, sema.ErrNotFound) {
			return fmt.Errorf("the line is %v, b: %v", line, err)
		}
		return nil
	})
	info, err := leader.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leader.Backend().Release(t.Context(), transport.ReleaseRequest{Name: "a", Token: info.Token}); err != nil {
		t.Fatal(err)
	}
	if err := <-alive; err != nil {
		t.Fatal(err)
	}
}

// TestWaitersAreToldWhereTheyStand, as it changes: those who asked.
func TestWaitersAreToldWhereTheyStand(t *testing.T) {
	h := startHarness(t, 3, nil)
	c := h.follower().Client()
	defer c.Close()
	acquire(t, c, "a", "holder", time.Minute)
	var leave []context.CancelFunc
	places := make([]chan sema.Place, 5)
	for i := range places {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		leave = append(leave, cancel)
		places[i] = make(chan sema.Place, 100)
		go func() { _, _ = c.Lock(ctx, "a", client.LockOptions{Notify: func(p sema.Place) { places[i] <- p }}) }()
		if p := <-places[i]; p.Position != i+1 || p.Holder.Owner != "holder" {
			t.Fatalf("number %d is told %+v", i+1, p)
		}
	}
	for _, gone := range []int{1, 0} { // from the middle and from the head
		leave[gone]()
	}
	for i, want := range map[int]int{2: 1, 3: 2, 4: 3} {
		for p := range places[i] {
			if p.Position == want {
				break
			}
			if p.Position < want || p.Position > i+1 {
				t.Fatalf("number %d is told %+v", i+1, p)
			}
		}
	}
}
