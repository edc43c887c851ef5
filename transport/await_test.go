package transport_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// election is a Leaders whose outcome the test decides.
type election struct {
	asked   chan sema.Leader // who had failed, each time somebody waits
	elected chan sema.Leader
}

func newElection() *election {
	return &election{asked: make(chan sema.Leader, 16), elected: make(chan sema.Leader, 16)}
}

func (e *election) AwaitLeader(ctx context.Context, failed sema.Leader) (sema.Leader, error) {
	e.asked <- failed
	select {
	case leader := <-e.elected:
		return leader, nil
	case <-ctx.Done():
		return sema.Leader{}, ctx.Err()
	}
}

// follows nobody: m says that it knows no leader.
func (m *member) followsNobody() {
	m.Intercept(func(context.Context, any, func() error) error { return &sema.NotLeaderError{} })
}

func TestACallWaitsForALeader(t *testing.T) {
	e := newElection()
	leader, follower := serve(t, "n1", nil), serveAwaiting(t, "n2", passing(t), e)
	follower.followsNobody()
	e.elected <- sema.Leader{ID: "n1", RaftAddr: leader.addr}
	if _, err := follower.client.Acquire(within(t, 20*time.Second), acquireA()); err != nil {
		t.Fatal(err)
	}
	if len(leader.Requests()) != 1 {
		t.Fatalf("the leader was asked %d times", len(leader.Requests()))
	}
}

func TestACallWaitsForTheSuccessorOfADeadLeader(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := lis.Addr().String()
	lis.Close()
	e := newElection()
	leader, follower := serve(t, "n1", nil), serveAwaiting(t, "n2", passing(t), e)
	follower.follows("n3", dead)
	e.elected <- sema.Leader{ID: "n1", RaftAddr: leader.addr}
	if _, err := follower.client.Acquire(within(t, 20*time.Second), acquireA()); err != nil {
		t.Fatal(err)
	}
	if failed := <-e.asked; failed.ID != "n3" {
		t.Fatalf("it waited for a successor of %q, want n3", failed.ID)
	}
}

func TestACallIsAnsweredByTheNodeThatTakesOffice(t *testing.T) {
	e := newElection()
	m := serveAwaiting(t, "n1", nil, e)
	m.followsNobody()
	done := make(chan error)
	go func() {
		_, err := m.client.Acquire(within(t, 20*time.Second), acquireA())
		done <- err
	}()
	<-e.asked
	m.Intercept(nil)
	e.elected <- sema.Leader{ID: "n1", RaftAddr: m.addr}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A caller whose own time ran out could not know that nothing happened.
func TestACallWithoutALeaderIsToldSoBeforeItsDeadline(t *testing.T) {
	m := serveAwaiting(t, "n1", passing(t), newElection())
	m.followsNobody()
	_, err := m.client.Acquire(within(t, time.Second), acquireA())
	if !errors.Is(transport.ErrorFromStatus(err), sema.ErrNotLeader) {
		t.Fatalf("without a leader: %v", err)
	}
}

func TestTwoNodesThatPointAtEachOtherEnd(t *testing.T) {
	a, b := newElection(), newElection()
	peers := passing(t)
	one, two := serveAwaiting(t, "n1", peers, a), serveAwaiting(t, "n2", peers, b)
	one.follows("n2", two.addr)
	two.follows("n1", one.addr)
	_, err := one.client.Acquire(within(t, 200*time.Millisecond), acquireA())
	if err == nil {
		t.Fatal("nobody leads, and somebody answered")
	}
	if n := len(one.Requests()) + len(two.Requests()); n > 2 {
		t.Fatalf("%d requests for one call", n)
	}
}
