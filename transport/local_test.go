package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// exchange is a call with a request that is in order, and everything that came
// back.
type exchange struct {
	method string
	call   func(ctx context.Context, c semav1.SemaClient) ([]proto.Message, error)
}

// one makes an exchange of a method with one answer.
func one[Req any, Resp proto.Message](method string, rpc func(semav1.SemaClient, context.Context, *Req, ...grpc.CallOption) (Resp, error), m *Req) exchange {
	return exchange{method, func(ctx context.Context, c semav1.SemaClient) ([]proto.Message, error) {
		resp, err := rpc(c, ctx, m)
		if err != nil {
			return nil, err
		}
		return []proto.Message{resp}, nil
	}}
}

// drain reads a wait to its end.
func drain(ctx context.Context, c semav1.SemaClient, m *semav1.WaitRequest) (all []proto.Message, err error) {
	stream, err := c.Wait(ctx, m)
	for err == nil {
		var resp *semav1.WaitResponse
		if resp, err = stream.Recv(); err == nil {
			all = append(all, resp)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return all, err
}

// exchanges has one for each method of the service.
func exchanges() []exchange {
	attempt := &semav1.Attempt{Client: make16(9), Seq: 5, LowestOpen: 4, Retry: true}
	return []exchange{
		one("Acquire", semav1.SemaClient.Acquire, acquireA()),
		{"Wait", func(ctx context.Context, c semav1.SemaClient) ([]proto.Message, error) {
			return drain(ctx, c, waitForA(1, true))
		}},
		one("Touch", semav1.SemaClient.Touch, &semav1.TouchRequest{Name: "a", Token: 3, Attempt: attempt}),
		one("TouchAll", semav1.SemaClient.TouchAll, &semav1.TouchAllRequest{Attempt: attempt, Holds: []*semav1.Hold{{Name: "a", Token: 3}, {Name: "b", Token: 4}}}),
		one("Release", semav1.SemaClient.Release, &semav1.ReleaseRequest{Name: "a", Attempt: attempt}),
		one("ForceRelease", semav1.SemaClient.ForceRelease, &semav1.ForceReleaseRequest{Name: "a", Token: 3}),
		one("Get", semav1.SemaClient.Get, &semav1.GetRequest{Name: "a", Stale: true, Line: 10}),
		one("List", semav1.SemaClient.List, &semav1.ListRequest{Prefix: "a", PageSize: 2, PageToken: "ab", Stale: true, Line: 10}),
		one("Join", semav1.SemaClient.Join, &semav1.JoinRequest{Id: "n4", Incarnation: make16(7), RaftAddr: "10.0.0.4:7373"}),
		one("FindMember", semav1.SemaClient.FindMember, &semav1.FindMemberRequest{Id: "n4"}),
		one("Remove", semav1.SemaClient.Remove, &semav1.RemoveRequest{Id: "n4", Force: true, Member: "n4@1"}),
		one("TransferLeadership", semav1.SemaClient.TransferLeadership, &semav1.TransferLeadershipRequest{Id: "n2"}),
		one("Status", semav1.SemaClient.Status, &semav1.StatusRequest{NodeOnly: true}),
	}
}

func TestLocalAnswersAsOverTheWire(t *testing.T) {
	backend := new(canned)
	wire := serveBackend(t, "n1", backend, nil, nil).client
	local := transport.NewLocal(transport.ServerConfig{NodeID: "n1", Backend: backend})
	defer local.Stop()
	ctx := within(t, 20*time.Second)
	all := exchanges()
	// An exchange carries the others, and has no counterpart within a process.
	if want := len(semav1.Sema_ServiceDesc.Methods) + len(semav1.Sema_ServiceDesc.Streams) - 1; len(all) != want {
		t.Errorf("%d methods are tried, and the service has %d", len(all), want)
	}
	outcomes := []error{nil, errors.New("disk on fire"), fmt.Errorf("release: %w", errors.Join(sema.ValidateName(""), sema.ValidateTimeout(0)))}
	for _, row := range crossing {
		outcomes = append(outcomes, row.sentinel)
	}
	for _, outcome := range outcomes {
		backend.fail(outcome)
		for _, x := range all {
			overWire, wireErr := x.call(ctx, wire)
			wireAsked := backend.requests()
			inProcess, localErr := x.call(ctx, local)
			if asked := backend.requests(); len(asked) != 1 || !reflect.DeepEqual(asked, wireAsked) {
				t.Errorf("%s asked for %+v, and over the wire %+v", x.method, asked, wireAsked)
			}
			if outcome == nil && len(inProcess) == 0 || !equalMessages(inProcess, overWire) {
				t.Errorf("%s (%v) answered %v, and over the wire %v", x.method, outcome, inProcess, overWire)
			}
			if !proto.Equal(status.Convert(localErr).Proto(), status.Convert(wireErr).Proto()) || (localErr == nil) != (outcome == nil) {
				t.Errorf("%s (%v) failed with %v, and over the wire with %v", x.method, outcome, localErr, wireErr)
			}
		}
	}
}

func equalMessages(a, b []proto.Message) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !proto.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func TestLocalRefusesWhatTheWireRefuses(t *testing.T) {
	backend := new(canned)
	local := transport.NewLocal(transport.ServerConfig{NodeID: "n1", Backend: backend})
	ctx := within(t, 20*time.Second)
	for _, x := range []exchange{
		one("Acquire", semav1.SemaClient.Acquire, new(semav1.AcquireRequest)),
		one("Touch", semav1.SemaClient.Touch, new(semav1.TouchRequest)),
		one("TouchAll", semav1.SemaClient.TouchAll, &semav1.TouchAllRequest{Holds: []*semav1.Hold{nil}}),
		one("Release", semav1.SemaClient.Release, new(semav1.ReleaseRequest)),
		one("ForceRelease", semav1.SemaClient.ForceRelease, new(semav1.ForceReleaseRequest)),
		one("Get", semav1.SemaClient.Get, new(semav1.GetRequest)),
		one("List", semav1.SemaClient.List, &semav1.ListRequest{PageSize: 1001}),
		{"Wait", func(ctx context.Context, c semav1.SemaClient) ([]proto.Message, error) {
			return drain(ctx, c, &semav1.WaitRequest{Name: "a", Owner: "me", Timeout: durationpb.New(time.Second)})
		}},
	} {
		if got, err := x.call(ctx, local); !errors.Is(transport.ErrorFromStatus(err), sema.ErrInvalid) {
			t.Errorf("%s: %v, %v, want ErrInvalid", x.method, got, err)
		}
	}
	if asked := backend.requests(); len(asked) != 0 {
		t.Errorf("the backend was asked %v", asked)
	}
}

func TestLocalPassesOnToTheLeader(t *testing.T) {
	backend := new(canned)
	leader := serveBackend(t, "n1", backend, nil, nil)
	follower := new(fakenode.Node)
	follower.Intercept(func(context.Context, any, func() error) error {
		return &sema.NotLeaderError{Leader: sema.Leader{ID: "n1", RaftAddr: leader.addr}}
	})
	local := transport.NewLocal(transport.ServerConfig{NodeID: "n2", Backend: follower, Peers: passing(t)})
	defer local.Stop()
	ctx := within(t, 20*time.Second)
	for _, x := range exchanges() {
		direct, _ := x.call(ctx, leader.client)
		asked := backend.requests()
		passed, err := x.call(ctx, local)
		if err != nil || !equalMessages(passed, direct) || !reflect.DeepEqual(backend.requests(), asked) {
			t.Errorf("%s: passed on it is %v, %v, want %v", x.method, passed, err, direct)
		}
	}
}

// header is the stream of a call that somebody else's gRPC server answers.
type header struct {
	grpc.ServerTransportStream
	set metadata.MD
}

func (h *header) SetHeader(md metadata.MD) error {
	h.set = metadata.Join(h.set, md)
	return nil
}

// A program with a node in it may serve gRPC itself, and call the node with the
// context of its own call: neither reads or writes the other's metadata.
func TestLocalKeepsOutOfItsCallersCall(t *testing.T) {
	leader, follower := serve(t, "n1", nil), new(fakenode.Node)
	atLeader := metadata.MD{}
	leader.Intercept(func(ctx context.Context, _ any, _ func() error) error {
		md, _ := metadata.FromIncomingContext(ctx)
		atLeader = metadata.Join(atLeader, md)
		return nil
	})
	follower.Intercept(func(context.Context, any, func() error) error {
		return &sema.NotLeaderError{Leader: sema.Leader{ID: "n1", RaftAddr: leader.addr, GRPCAddr: leader.addr}}
	})
	local := transport.NewLocal(transport.ServerConfig{NodeID: "n2", Backend: follower, Peers: passing(t)})
	defer local.Stop()
	callers := new(header)
	ctx := grpc.NewContextWithServerTransportStream(within(t, 20*time.Second), callers)
	ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(transport.ForwardedKey, "n9"))
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "for somebody else")
	for _, x := range exchanges() {
		if _, err := x.call(ctx, local); err != nil {
			t.Errorf("%s: %v", x.method, err)
		}
	}
	if len(callers.set) != 0 {
		t.Errorf("it answered its caller's client with %v", callers.set)
	}
	if by := atLeader.Get(transport.ForwardedKey); len(by) != len(exchanges()) || by[0] != "n2" || atLeader.Get("authorization") != nil {
		t.Errorf("the leader was told %v", atLeader)
	}
}

// localLine is a node in this process whose semaphore a is held.
func localLine(t *testing.T) (*transport.Local, *fakenode.Node) {
	node := new(fakenode.Node)
	local := transport.NewLocal(transport.ServerConfig{NodeID: "n1", Backend: node})
	if _, err := local.Acquire(t.Context(), acquireA()); err != nil {
		t.Fatal(err)
	}
	return local, node
}

func TestLocalWaitTellsPlacesAndThenGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local, node := localLine(t)
		first := startWait(t, t.Context(), local, waitForA(1, false))
		expectPlace(t, first, 1, "me")
		second := startWait(t, t.Context(), local, waitForA(2, true))
		expectPlace(t, second, 2, "me")
		node.End("a")
		expectPlace(t, second, 1, "owner 1")
		expectGrant(t, first, "owner 1")
		node.End("a")
		expectGrant(t, second, "owner 2")
		if m, err := second.Recv(); err != io.EOF {
			t.Errorf("after the end came %v, %v", m, err)
		}
	})
}

// stages are where a wait may be when something ends it. Each takes a new wait so
// far that nothing moves any more.
var stages = []struct {
	what string
	take func(t *testing.T, node *fakenode.Node, stream func() waitStream)
}{
	{"being decided", func(_ *testing.T, node *fakenode.Node, stream func() waitStream) {
		node.Intercept(func(ctx context.Context, _ any, _ func() error) error {
			<-ctx.Done()
			return &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
		})
		stream()
	}},
	{"in line", func(t *testing.T, _ *fakenode.Node, stream func() waitStream) { expectPlace(t, stream(), 1, "me") }},
	{"with a place that nobody read", func(_ *testing.T, _ *fakenode.Node, stream func() waitStream) { stream() }},
	{"with an answer that nobody read", func(t *testing.T, node *fakenode.Node, stream func() waitStream) {
		expectPlace(t, stream(), 1, "me")
		node.End("a")
	}},
}

// The bubble fails if a goroutine of the call stays behind.
func TestLocalWaitEndsWithItsContextAtEveryStage(t *testing.T) {
	for _, stage := range stages {
		t.Run(stage.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				local, node := localLine(t)
				ctx, cancel := context.WithCancel(t.Context())
				var stream waitStream
				stage.take(t, node, func() waitStream {
					stream = startWait(t, ctx, local, waitForA(1, true))
					return stream
				})
				synctest.Wait()
				cancel()
				synctest.Wait()
				for range 2 { // and says so again
					if m, err := stream.Recv(); err == nil || err == io.EOF {
						t.Errorf("it ended with %v, %v, want an error", m, err)
					}
				}
			})
		})
	}
}

func TestLocalWaitEndsWithItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local, node := localLine(t)
		atNode := contexts(node)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stream := startWait(t, ctx, local, waitForA(1, true))
		expectPlace(t, stream, 1, "me")
		if m, err := stream.Recv(); err == nil || err == io.EOF {
			t.Errorf("it ended with %v, %v, want an error", m, err)
		}
		if backend := <-atNode; backend.Err() != context.DeadlineExceeded {
			t.Errorf("the backend's context ended with %v", backend.Err())
		}
	})
}

func TestLocalWaitWithAContextThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		local, _ := localLine(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for {
			m, err := startWait(t, ctx, local, waitForA(1, true)).Recv()
			if err == io.EOF || err == nil && m.GetInfo() != nil {
				t.Fatalf("it ended with %v, %v, want an error", m, err)
			}
			if err != nil {
				return // a place may come first: it was taken
			}
		}
	})
}

// A wait that is stopped may have been granted. One that waits for a leader is not.
func TestLocalStopEndsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node, e := new(fakenode.Node), newElection()
		local := transport.NewLocal(transport.ServerConfig{NodeID: "n1", Backend: node, Leaders: e})
		if _, err := local.Acquire(t.Context(), acquireA()); err != nil {
			t.Fatal(err)
		}
		inLine := startWait(t, t.Context(), local, waitForA(1, false))
		expectPlace(t, inLine, 1, "me")
		node.Intercept(func(context.Context, any, func() error) error { return &sema.NotLeaderError{} })
		leaderless := startWait(t, t.Context(), local, waitForA(2, false))
		<-e.asked

		began := time.Now()
		local.Stop()
		expectEnd(t, inLine, sema.ErrOutcomeUnknown)
		expectEnd(t, leaderless, sema.ErrNotLeader)
		expectEnd(t, startWait(t, t.Context(), local, waitForA(3, false)), sema.ErrNotLeader) // and later
		node.Intercept(nil)
		late := startWait(t, t.Context(), local, waitForA(4, false))
		synctest.Wait()
		if m, err := late.Recv(); err == nil && m.GetInfo() == nil { // a place, taken before it looked
			expectEnd(t, late, sema.ErrOutcomeUnknown)
		} else if !errors.Is(transport.ErrorFromStatus(err), sema.ErrOutcomeUnknown) {
			t.Errorf("a wait after the stop: %v, %v", m, err)
		}
		local.Stop() // idempotent
		if took := time.Since(began); took != 0 {
			t.Errorf("all that took %v", took)
		}
	})
}
