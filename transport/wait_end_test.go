package transport_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
)

// stopInTime stops a member and fails if it took until the end of its patience.
func stopInTime(t testing.TB, m *member) {
	t.Helper()
	patience := within(t, 10*time.Second)
	m.server.Stop(patience)
	if patience.Err() != nil {
		t.Error("Stop was held up")
	}
}

func TestStopEndsWaitsAsUnknown(t *testing.T) {
	for _, tc := range []struct {
		what string
		stop func(leader, follower *member) *member
	}{
		{"at the node that leads", func(leader, _ *member) *member { return leader }},
		{"at the node that passed them on", func(_, follower *member) *member { return follower }},
	} {
		t.Run(tc.what, func(t *testing.T) {
			leader, follower := serve(t, "n1", nil), serveAwaiting(t, "n2", passing(t), newElection())
			follower.follows("n1", leader.addr)
			holdA(t, leader.client)
			stopped := tc.stop(leader, follower)
			waits := make([]waitStream, 10)
			for i := range waits {
				asked := []*member{stopped, follower}[i%2] // directly, and through the other node
				waits[i] = startWait(t, within(t, 20*time.Second), asked.client, waitForA(byte(20+i), false))
				expectPlace(t, waits[i], uint32(i+1), "me")
			}
			stopInTime(t, stopped)
			for _, wait := range waits {
				expectEnd(t, wait, sema.ErrOutcomeUnknown)
			}
		})
	}
}

// A wait that found no leader before the stop has changed nothing, and says so.
func TestStopEndsAWaitWithoutALeader(t *testing.T) {
	e := newElection()
	m := serveAwaiting(t, "n1", passing(t), e)
	m.followsNobody()
	stream := startWait(t, within(t, 20*time.Second), m.client, waitForA(1, false))
	<-e.asked
	stopInTime(t, m)
	expectEnd(t, stream, sema.ErrNotLeader)
}

// A stop while the wait is being decided: the call is there, and its place is not.
func TestStopEndsAWaitThatIsBeingDecided(t *testing.T) {
	node := serve(t, "n1", nil)
	asked := make(chan struct{})
	node.Intercept(func(ctx context.Context, _ any, _ func() error) error {
		close(asked)
		<-ctx.Done()
		return &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
	})
	stream := startWait(t, within(t, 20*time.Second), node.client, waitForA(1, false))
	eventually(t, "the wait is being decided", asked)
	stopInTime(t, node)
	expectEnd(t, stream, sema.ErrOutcomeUnknown)
}

// Streams that last as long as their client likes end with the server, beside waits.
func TestStopEndsEveryKindOfStream(t *testing.T) {
	node := serve(t, "n1", nil)
	ctx := within(t, 20*time.Second)
	health, err := healthv1.NewHealthClient(node.conn).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := health.Recv(); err != nil {
		t.Fatal(err)
	}
	reflection, err := reflectionv1.NewServerReflectionClient(node.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := reflection.Send(list); err != nil {
		t.Fatal(err)
	}
	if _, err := reflection.Recv(); err != nil {
		t.Fatal(err)
	}
	holdA(t, node.client)
	wait := startWait(t, ctx, node.client, waitForA(1, false))
	expectPlace(t, wait, 1, "me")

	stopInTime(t, node)
	for range 2 { // the first may be what the health service said of the stop
		_, err = health.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the health stream: %v", err)
	}
	if _, err := reflection.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the reflection stream: %v", err)
	}
	expectEnd(t, wait, sema.ErrOutcomeUnknown)
}

func TestAClientThatLeavesEndsItsWait(t *testing.T) {
	for _, tc := range []struct {
		what  string
		leave func(m *member, cancel func())
	}{
		{"by cancelling", func(_ *member, cancel func()) { cancel() }},
		{"by closing its connection", func(m *member, _ func()) { _ = m.conn.Close() }},
	} {
		for _, through := range []string{"directly", "through a follower"} {
			t.Run(tc.what+", "+through, func(t *testing.T) {
				leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
				follower.follows("n1", leader.addr)
				holdA(t, leader.client)
				asked := leader
				if through != "directly" {
					asked = follower
				}
				atLeader := contexts(&leader.Node)
				ctx, cancel := context.WithCancel(within(t, 20*time.Second))
				defer cancel()
				expectPlace(t, startWait(t, ctx, asked.client, waitForA(1, false)), 1, "me")
				tc.leave(asked, cancel)
				backend := <-atLeader
				eventually(t, "the backend's context ends", backend.Done())
				if backend.Err() != context.Canceled {
					t.Errorf("it ended with %v, want Canceled: the client may come back", backend.Err())
				}
			})
		}
	}
}

// Who says how long it waits does not come back after that: the backend is to know.
func TestTheEndOfADeadlineIsTheEndOfAWaitForGood(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	follower.follows("n1", leader.addr)
	holdA(t, leader.client)
	for _, asked := range []*member{leader, follower} {
		atLeader := contexts(&leader.Node)
		stream := startWait(t, within(t, 100*time.Millisecond), asked.client, waitForA(1, false))
		for err := error(nil); err == nil; {
			_, err = stream.Recv()
			if err != nil && status.Code(err) != codes.DeadlineExceeded && !errors.Is(transport.ErrorFromStatus(err), sema.ErrOutcomeUnknown) {
				t.Errorf("through %s: the client is told %v", asked.id, err)
			}
		}
		backend := <-atLeader
		eventually(t, "the backend's context ends", backend.Done())
		if backend.Err() != context.DeadlineExceeded {
			t.Errorf("through %s: it ended with %v, want DeadlineExceeded", asked.id, backend.Err())
		}
	}
}

// talker is a node whose waits never end by themselves, and what it tells in them.
type talker struct {
	fakenode.Node
	tell func(ctx context.Context, told func(sema.Place))
	ends chan error // of the wait, and why
}

func (k *talker) Wait(ctx context.Context, _ transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	k.tell(ctx, told)
	<-ctx.Done()
	k.ends <- ctx.Err()
	return sema.Info{}, &sema.OutcomeUnknownError{Cause: context.Cause(ctx)}
}

// A message that no client will ever see means that nobody waits any more, as far
// as this node can tell.
func TestAMessageThatCannotBeSentEndsTheWait(t *testing.T) {
	k := &talker{ends: make(chan error, 1), tell: func(_ context.Context, told func(sema.Place)) {
		told(sema.Place{Position: 1, Holder: sema.Info{Owner: "no UTF-8: \xff"}}) // which protobuf refuses
	}}
	node := serveBackend(t, "n1", k, nil, nil)
	stream := startWait(t, within(t, 20*time.Second), node.client, waitForA(1, true))
	if m, err := stream.Recv(); err == nil {
		t.Errorf("received %v", m)
	}
	if err := <-k.ends; err != context.Canceled {
		t.Errorf("the wait ended with %v", err)
	}
}

// A client asks for positions and never reads them. As long as they fit into what
// the connection buffers, for a thousand of them or so, Stop does not notice; after
// that it waits as long as it was told to. Other calls never notice.
func TestASlowReaderHoldsUpNobodyElse(t *testing.T) {
	const fit = 100
	for _, tc := range []struct {
		what     string
		places   int
		patience time.Duration
	}{{"a few places", fit, 10 * time.Second}, {"places without end", math.MaxInt, 500 * time.Millisecond}} {
		t.Run(tc.what, func(t *testing.T) {
			talked := make(chan struct{})
			k := &talker{ends: make(chan error, 1), tell: func(ctx context.Context, tell func(sema.Place)) {
				for i := 0; i < tc.places && ctx.Err() == nil; i++ {
					tell(sema.Place{Position: 1, Holder: sema.Info{Owner: "the same for all that time"}})
					if i == fit-1 {
						close(talked)
					}
				}
			}}
			node := serveBackend(t, "n1", k, nil, nil)
			startWait(t, within(t, 20*time.Second), node.client, waitForA(1, true)) // and nobody reads
			eventually(t, "the wait has a lot to read", talked)
			for i := range 200 {
				m := acquireA()
				m.Name, m.Attempt = fmt.Sprint("other ", i), nil
				if _, err := node.client.Acquire(within(t, 20*time.Second), m); err != nil {
					t.Fatalf("another call, on the same connection: %v", err)
				}
			}
			patience := within(t, tc.patience)
			node.server.Stop(patience)
			if tc.places == fit && patience.Err() != nil {
				t.Error("Stop was held up")
			}
			<-k.ends // and Stop waited for that
		})
	}
}

// As many waits as a busy client has, on one connection and in one line: each gets
// its turn, in order.
func TestThousandsOfWaitsOnOneConnection(t *testing.T) {
	const waits = 2000
	node := serve(t, "n1", nil)
	ctx := within(t, time.Minute)
	release := holdA(t, node.client)
	streams := make([]waitStream, waits)
	for i := range streams {
		m := waitForA(1, false)
		m.Owner = fmt.Sprint("owner ", i)
		m.Attempt.Seq, m.Attempt.LowestOpen = uint64(i%1000+1), 1
		m.Attempt.Client = make16(byte(i / 1000))
		m.Attempt.Client[1] = 1
		streams[i] = startWait(t, ctx, node.client, m)
		expectPlace(t, streams[i], uint32(i+1), "me")
	}
	release()
	last := uint64(0)
	for i, stream := range streams {
		hold := expectGrant(t, stream, fmt.Sprint("owner ", i))
		if hold.GetToken() <= last {
			t.Fatalf("wait %d has token %d after %d", i, hold.GetToken(), last)
		}
		last = hold.GetToken()
		releaseA(t, node.client, hold)
	}
	if line := node.Line("a"); len(line) != 0 {
		t.Errorf("%d are left in line", len(line))
	}
}
