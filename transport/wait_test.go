package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// waitForA asks for the semaphore a, or a place in its line, by this client.
func waitForA(client byte, positions bool) *semav1.WaitRequest {
	return &semav1.WaitRequest{Name: "a", Owner: fmt.Sprint("owner ", client), Timeout: durationpb.New(30 * time.Second),
		Attempt: &semav1.Attempt{Client: make16(client), Seq: 1, LowestOpen: 1}, Positions: positions}
}

// holdA acquires the semaphore a and returns what releases it.
func holdA(t testing.TB, c semav1.SemaClient) (release func()) {
	t.Helper()
	held, err := c.Acquire(within(t, 20*time.Second), acquireA())
	if err != nil || held.GetInfo().GetStatus() != semav1.Status_ACQUIRED {
		t.Fatalf("acquire: %v, %v", held, err)
	}
	return func() { releaseA(t, c, held.GetInfo()) }
}

func releaseA(t testing.TB, c semav1.SemaClient, hold *semav1.Info) {
	t.Helper()
	resp, err := c.Release(within(t, 20*time.Second), &semav1.ReleaseRequest{Name: "a", Token: hold.GetToken()})
	if err != nil || !resp.GetReleased() {
		t.Fatalf("release: %v, %v", resp, err)
	}
}

// waitStream is one call of Wait as its client sees it.
type waitStream = grpc.ServerStreamingClient[semav1.WaitResponse]

func startWait(t testing.TB, ctx context.Context, c semav1.SemaClient, m *semav1.WaitRequest) waitStream {
	t.Helper()
	stream, err := c.Wait(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// expectPlace wants the next message to be a place in line.
func expectPlace(t testing.TB, stream waitStream, position uint32, holder string) {
	t.Helper()
	m, err := stream.Recv()
	if err != nil || m.GetInfo() != nil || m.GetPosition() != position || m.GetHolder().GetOwner() != holder {
		t.Fatalf("told %v, %v, want position %d behind %s", m, err, position, holder)
	}
}

// expectGrant wants the next message to be the answer, and the last.
func expectGrant(t testing.TB, stream waitStream, owner string) *semav1.Info {
	t.Helper()
	m, err := stream.Recv()
	if err != nil || m.GetInfo().GetStatus() != semav1.Status_ACQUIRED || m.GetInfo().GetOwner() != owner || m.GetPosition() != 0 {
		t.Fatalf("answered %v, %v, want the hold of %s", m, err, owner)
	}
	if more, err := stream.Recv(); err != io.EOF {
		t.Fatalf("after the answer came %v, %v, want the end", more, err)
	}
	return m.GetInfo()
}

// expectEnd wants a stream to end with this error.
func expectEnd(t testing.TB, stream waitStream, want error) {
	t.Helper()
	m, err := stream.Recv()
	if !errors.Is(transport.ErrorFromStatus(err), want) {
		t.Fatalf("ended with %v, %v, want %v", m, err, want)
	}
}

// eventually waits until a channel that stands for a condition is closed.
func eventually(t testing.TB, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatalf("not within 20 s: %s", what)
	}
}

// contexts makes a node tell the context of each wait as it begins. All requests
// pass.
func contexts(node *fakenode.Node) <-chan context.Context {
	seen := make(chan context.Context, 16)
	node.Intercept(func(ctx context.Context, req any, apply func() error) error {
		if _, ok := req.(fakenode.Wait); ok {
			seen <- ctx
		}
		return apply()
	})
	return seen
}

func TestAWaitTellsThePlaceAndThenGrants(t *testing.T) {
	node := serve(t, "n1", nil)
	release := holdA(t, node.client)
	stream := startWait(t, within(t, 20*time.Second), node.client, waitForA(1, false))
	expectPlace(t, stream, 1, "me")
	release()
	hold := expectGrant(t, stream, "owner 1")
	if standing := node.Holder("a"); standing.Token != hold.GetToken() || standing.Owner != "owner 1" {
		t.Errorf("granted %v, and %+v stands", hold, standing)
	}
}

func TestAWaitForWhatIsFreeIsAnAcquire(t *testing.T) {
	node := serve(t, "n1", nil)
	expectGrant(t, startWait(t, within(t, 20*time.Second), node.client, waitForA(1, true)), "owner 1")
}

// Who stands third and asked for it hears of each step; who stands second and did
// not ask, of the place it took and then of the grant.
func TestPlacesAreToldToThoseWhoAsked(t *testing.T) {
	node := serve(t, "n1", nil)
	ctx := within(t, 20*time.Second)
	release := holdA(t, node.client)
	first := startWait(t, ctx, node.client, waitForA(1, false))
	expectPlace(t, first, 1, "me")
	silent := startWait(t, ctx, node.client, waitForA(2, false))
	expectPlace(t, silent, 2, "me")
	curious := startWait(t, ctx, node.client, waitForA(3, true))
	expectPlace(t, curious, 3, "me")

	release()
	expectPlace(t, curious, 2, "owner 1")
	releaseA(t, node.client, expectGrant(t, first, "owner 1"))
	expectPlace(t, curious, 1, "owner 2")
	releaseA(t, node.client, expectGrant(t, silent, "owner 2"))
	expectGrant(t, curious, "owner 3")
}

func TestAWaitReachesTheBackendWhole(t *testing.T) {
	node := serve(t, "n1", nil)
	m := waitForA(9, true)
	m.Attempt.Seq, m.Attempt.LowestOpen, m.Attempt.Retry = 7, 5, true
	expectGrant(t, startWait(t, within(t, 20*time.Second), node.client, m), "owner 9")
	want := fakenode.Wait{AcquireRequest: transport.AcquireRequest{Name: "a", Owner: "owner 9", Timeout: 30 * time.Second, Retry: true, Positions: true,
		Attempt: sema.Attempt{Client: sema.ClientID(make16(9)), Seq: 7, LowestOpen: 5}}}
	if got := node.Requests(); len(got) != 1 || got[0] != want {
		t.Errorf("the backend was asked %+v, want %+v", got, want)
	}
}

func TestInvalidWaitsDoNotReachTheBackend(t *testing.T) {
	node := serve(t, "n1", nil)
	for _, tc := range []struct {
		what  string
		spoil func(m *semav1.WaitRequest)
		want  []string
	}{
		{"nothing at all", func(m *semav1.WaitRequest) { proto.Reset(m) }, []string{"name", "owner", "timeout", "attempt"}},
		{"no attempt", func(m *semav1.WaitRequest) { m.Attempt = nil }, []string{"attempt"}},
		{"no seq", func(m *semav1.WaitRequest) { m.Attempt.Seq = 0 }, []string{"attempt"}},
		{"no client", func(m *semav1.WaitRequest) { m.Attempt.Client = nil }, []string{"attempt.client", "attempt"}},
		{"a client of 15 bytes", func(m *semav1.WaitRequest) { m.Attempt.Client = m.Attempt.Client[:15] }, []string{"attempt.client"}},
		{"lowest open above seq", func(m *semav1.WaitRequest) { m.Attempt.LowestOpen = 2 }, []string{"attempt.lowest_open"}},
		{"a bad name", func(m *semav1.WaitRequest) { m.Name = "a\nb" }, []string{"name"}},
		{"no owner", func(m *semav1.WaitRequest) { m.Owner = "" }, []string{"owner"}},
		{"too short a timeout", func(m *semav1.WaitRequest) { m.Timeout = durationpb.New(time.Millisecond) }, []string{"timeout"}},
		{"no timeout", func(m *semav1.WaitRequest) { m.Timeout = nil }, []string{"timeout"}},
	} {
		m := waitForA(1, false)
		tc.spoil(m)
		resp, err := startWait(t, within(t, 20*time.Second), node.client, m).Recv()
		var fields []string
		for _, detail := range status.Convert(err).Details() {
			for _, v := range detail.(*semav1.ErrorDetail).GetViolations() {
				fields = append(fields, v.GetField())
			}
		}
		if status.Code(err) != codes.InvalidArgument || !slices.Equal(fields, tc.want) {
			t.Errorf("%s: got %v, %v with %q, want %q", tc.what, resp, err, fields, tc.want)
		}
	}
	if n := len(node.Requests()); n != 0 {
		t.Errorf("the backend was asked %d times", n)
	}
}

func TestAFollowerPassesAWaitOnAndWhatComesOnTheWay(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	follower.follows("n1", leader.addr)
	ctx := within(t, 20*time.Second)
	release := holdA(t, follower.client)
	first := startWait(t, ctx, follower.client, waitForA(1, false))
	expectPlace(t, first, 1, "me")
	second := startWait(t, ctx, follower.client, waitForA(2, true))
	expectPlace(t, second, 2, "me")
	release()
	expectPlace(t, second, 1, "owner 1")
	releaseA(t, follower.client, expectGrant(t, first, "owner 1"))
	expectGrant(t, second, "owner 2")
	if asked, passed := fmt.Sprint(follower.Requests()), fmt.Sprint(leader.Requests()); asked != passed {
		t.Errorf("passed on\n%s\nof\n%s", passed, asked)
	}
}

func TestAWaitWaitsForALeaderFirst(t *testing.T) {
	e := newElection()
	leader, follower := serve(t, "n1", nil), serveAwaiting(t, "n2", passing(t), e)
	release := holdA(t, leader.client)
	follower.followsNobody()
	stream := startWait(t, within(t, 20*time.Second), follower.client, waitForA(1, false))
	<-e.asked
	e.elected <- sema.Leader{ID: "n1", RaftAddr: leader.addr}
	expectPlace(t, stream, 1, "me")
	release()
	expectGrant(t, stream, "owner 1")
}

// The leader that was asked is cut off and never says so. Its client must take its
// place to the next one, and the old one must not keep the call.
func TestAForwardedWaitEndsWhenThereIsAnotherLeader(t *testing.T) {
	e := newElection()
	leader, follower := serve(t, "n1", nil), serveAwaiting(t, "n2", passing(t), e)
	holdA(t, leader.client)
	atLeader := contexts(&leader.Node)
	follower.follows("n1", leader.addr)
	stream := startWait(t, within(t, 20*time.Second), follower.client, waitForA(1, false))
	expectPlace(t, stream, 1, "me")
	if old := <-e.asked; old.ID != "n1" {
		t.Errorf("it looks out for a successor of %q, want n1", old.ID)
	}
	e.elected <- sema.Leader{ID: "n3", RaftAddr: "127.0.0.1:1"}
	expectEnd(t, stream, sema.ErrOutcomeUnknown)
	eventually(t, "the call at the old leader ends", (<-atLeader).Done())
}

func TestAForwardedWaitWhoseLeaderDiesIsUnknown(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	holdA(t, leader.client)
	follower.follows("n1", leader.addr)
	stream := startWait(t, within(t, 20*time.Second), follower.client, waitForA(1, false))
	expectPlace(t, stream, 1, "me")
	leader.kill()
	expectEnd(t, stream, sema.ErrOutcomeUnknown)
}
