package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// streamTo is a Stream over a connection that the test's end closes.
func streamTo(t testing.TB, conn *grpc.ClientConn) *transport.Stream {
	s := transport.NewStream(conn)
	t.Cleanup(s.Close)
	return s
}

func acquiring(name string) *transport.Call {
	return &transport.Call{Method: transport.MethodAcquire, Name: name, Owner: "me", Timeout: time.Minute}
}

// until looks again and again, without waiting in between.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// messages counts what a connection sends.
type messages struct{ sent atomic.Int64 }

func (m *messages) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (m *messages) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutPayload); ok {
		m.sent.Add(1)
	}
}
func (m *messages) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (m *messages) HandleConn(context.Context, stats.ConnStats)                       {}

// gated is a connection that is not made before open is called.
func gated(t testing.TB, addr string, opts ...grpc.DialOption) (conn *grpc.ClientConn, open func()) {
	t.Helper()
	gate := make(chan struct{})
	conn, err := grpc.NewClient("passthrough:///"+addr, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			select {
			case <-gate:
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, sync.OnceFunc(func() { close(gate) })
}

func TestStreamCallsTravelTogether(t *testing.T) {
	const callers = 1000
	node, count := serve(t, "n1", nil), new(messages)
	conn, open := gated(t, node.addr, grpc.WithStatsHandler(count))
	s := streamTo(t, conn)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			name := fmt.Sprint("lock ", i)
			c := acquiring(name)
			if sent := s.Do(t.Context(), c, 20*time.Second, nil); !sent || c.Err != nil || c.Info.Name != name || c.Info.Status != sema.Acquired {
				t.Errorf("%s: sent %v, %+v", name, sent, c.Answer)
			}
		})
	}
	until(t, "all have called", func() bool { return s.Open() == callers })
	open()
	wg.Wait()
	if n := count.sent.Load(); n != 1 {
		t.Errorf("%d calls took %d messages", callers, n)
	}
}

// A thousand calls of the largest size do not fit into one message.
func TestStreamMessagesAreOfBoundedSize(t *testing.T) {
	node, count := serve(t, "n1", nil), new(messages)
	conn, open := gated(t, node.addr, grpc.WithStatsHandler(count))
	s := streamTo(t, conn)
	var wg sync.WaitGroup
	for i := range 2500 {
		wg.Go(func() {
			c := acquiring(fmt.Sprintf("%0*d", sema.MaxNameBytes, i))
			c.Owner = strings.Repeat("o", sema.MaxOwnerBytes)
			if s.Do(t.Context(), c, 20*time.Second, nil); c.Err != nil {
				t.Error(c.Err)
			}
		})
	}
	until(t, "all have called", func() bool { return s.Open() == 2500 })
	open()
	wg.Wait()
	if n := count.sent.Load(); n < 4 || n > 10 {
		t.Errorf("they took %d messages", n)
	}
}

func TestStreamContextThatEndsBeforeAnythingIsSent(t *testing.T) {
	node := serve(t, "n1", nil)
	conn, open := gated(t, node.addr)
	s := streamTo(t, conn)
	over, end := context.WithCancel(t.Context())
	end()
	c := acquiring("a")
	if sent := s.Do(over, c, 0, nil); sent || status.Code(c.Err) != codes.Canceled || s.Exchanging() {
		t.Errorf("with a context that had ended: sent %v, %v", sent, c.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3000 {
		wg.Go(func() {
			c := acquiring("a")
			if sent := s.Do(ctx, c, 0, nil); sent || status.Code(c.Err) != codes.Canceled {
				t.Errorf("sent %v, %v", sent, c.Err)
			}
		})
	}
	until(t, "all have called", func() bool { return s.Open() == 3000 })
	cancel()
	wg.Wait()
	if n := s.Queued(); n > 2500 {
		t.Errorf("%d calls that were given up wait to be sent", n)
	}
	c = acquiring("b")
	if sent := s.Do(t.Context(), c, time.Millisecond, nil); sent || status.Code(c.Err) != codes.DeadlineExceeded {
		t.Errorf("with a time limit: sent %v, %v", sent, c.Err)
	}
	open()
	c = acquiring("c")
	if sent := s.Do(t.Context(), c, 20*time.Second, nil); !sent || c.Err != nil {
		t.Errorf("then: sent %v, %v", sent, c.Err)
	}
	if n := len(node.Requests()); n != 1 {
		t.Errorf("the node was asked %d times", n)
	}
}

func TestStreamContextThatEndsAfterTheCallWasSent(t *testing.T) {
	node := serve(t, "n1", nil)
	came, ended := slowly(&node.Node)
	s := streamTo(t, node.conn)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan bool, 1)
	c := acquiring("slow")
	go func() { done <- s.Do(ctx, c, time.Hour, nil) }()
	take(t, came, "the node was asked")
	cancel()
	if sent := take(t, done, "the call ended"); !sent || status.Code(c.Err) != codes.Canceled {
		t.Errorf("sent %v, %v", sent, c.Err)
	}
	if err := take(t, ended, "the node gave it up"); err != context.Canceled {
		t.Errorf("at the node it ended with %v", err)
	}
}

func TestStreamTimeLimitIsOneCallsOwn(t *testing.T) {
	node := serve(t, "n1", nil)
	_, ended := slowly(&node.Node)
	s := streamTo(t, node.conn)
	for _, limit := range []struct {
		what   string
		within time.Duration
		ctx    context.Context
	}{{"within", 20 * time.Millisecond, t.Context()}, {"of the context", 0, within(t, 20*time.Millisecond)}} {
		c := acquiring("slow")
		if sent := s.Do(limit.ctx, c, limit.within, nil); status.Code(c.Err) != codes.DeadlineExceeded {
			t.Errorf("%s: sent %v, %v", limit.what, sent, c.Err)
		}
		c = acquiring(limit.what)
		if s.Do(t.Context(), c, 20*time.Second, nil); c.Err != nil {
			t.Errorf("%s: the next one: %v", limit.what, c.Err)
		}
	}
	var wg sync.WaitGroup
	for i := range 100 { // at different moments
		wg.Go(func() {
			c := acquiring("slow")
			if s.Do(t.Context(), c, time.Duration(1+i%20)*time.Millisecond, nil); status.Code(c.Err) != codes.DeadlineExceeded {
				t.Error(c.Err)
			}
		})
	}
	wg.Wait()
	for len(ended) > 0 {
		<-ended
	}
}

// What would break the message is refused before it gets there.
func TestStreamRefusesWhatWouldHarmTheOthers(t *testing.T) {
	node := serve(t, "n1", nil)
	s := streamTo(t, node.conn)
	longOwner, odd := acquiring("a"), acquiring("a")
	longOwner.Owner = strings.Repeat("x", sema.MaxOwnerBytes+1)
	odd.Method = 6
	for _, tc := range []struct {
		what string
		call *transport.Call
		want codes.Code
	}{
		{"a name of a megabyte", acquiring(strings.Repeat("x", 2<<20)), codes.InvalidArgument},
		{"a name that is not UTF-8", &transport.Call{Method: transport.MethodTouch, Name: "\xff"}, codes.InvalidArgument},
		{"a long owner", longOwner, codes.InvalidArgument},
		{"another method", odd, codes.Unimplemented},
		{"no method", new(transport.Call), codes.Unimplemented},
	} {
		if sent := s.Do(t.Context(), tc.call, 20*time.Second, nil); sent || status.Code(tc.call.Err) != tc.want {
			t.Errorf("%s: sent %v, %v", tc.what, sent, tc.call.Err)
		}
	}
	if s.Exchanging() {
		t.Error("there is an exchange")
	}
	empty := acquiring("") // is for the node to refuse
	if s.Do(t.Context(), empty, 20*time.Second, nil); !errors.Is(transport.ErrorFromStatus(empty.Err), sema.ErrInvalid) {
		t.Errorf("no name: %v", empty.Err)
	}
}

func TestStreamThatBreaks(t *testing.T) {
	first, second := serve(t, "n1", nil), serve(t, "n2", nil)
	came, _ := slowly(&first.Node)
	var addr atomic.Value
	addr.Store(first.addr)
	s := streamTo(t, dialing(t, &addr))
	const callers = 50
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			c := acquiring("slow")
			sent := s.Do(t.Context(), c, 0, nil)
			if code := status.Code(c.Err); !sent || code != codes.Unavailable && code != codes.Canceled && code != codes.DeadlineExceeded {
				t.Errorf("sent %v, %v", sent, c.Err)
			}
		})
	}
	for range callers {
		take(t, came, "the node was asked")
	}
	addr.Store(second.addr)
	first.kill()
	wg.Wait()
	until(t, "the next node answers", func() bool {
		c := acquiring("b")
		sent := s.Do(t.Context(), c, 20*time.Second, nil)
		if c.Err != nil && status.Code(c.Err) != codes.Unavailable {
			t.Errorf("sent %v, %v", sent, c.Err)
		}
		return c.Err == nil
	})
	if second.Holder("b").Owner != "me" {
		t.Error("somebody else answered")
	}
}

func TestStreamToNobody(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var addr atomic.Value
	addr.Store(lis.Addr().String())
	lis.Close()
	s := streamTo(t, dialing(t, &addr))
	for range 3 {
		c := acquiring("a")
		if sent := s.Do(t.Context(), c, 20*time.Second, nil); sent || status.Code(c.Err) != codes.Unavailable {
			t.Errorf("sent %v, %v", sent, c.Err)
		}
	}
}

// scripted is a server that does with an exchange what the test says.
type scripted struct {
	semav1.UnimplementedSemaServer
	exchange func(grpc.BidiStreamingServer[semav1.ExchangeRequest, semav1.ExchangeResponse]) error
}

func (s *scripted) Exchange(stream grpc.BidiStreamingServer[semav1.ExchangeRequest, semav1.ExchangeResponse]) error {
	return s.exchange(stream)
}

func script(t testing.TB, exchange func(grpc.BidiStreamingServer[semav1.ExchangeRequest, semav1.ExchangeResponse]) error) *transport.Stream {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	semav1.RegisterSemaServer(server, &scripted{exchange: exchange})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(lis)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
	var addr atomic.Value
	addr.Store(lis.Addr().String())
	return streamTo(t, dialing(t, &addr))
}

// What ends an exchange is no verdict on the calls in it, which may have taken effect:
// codes by which gRPC refuses a call before anybody looks at it would say that.
func TestStreamEndIsNoVerdict(t *testing.T) {
	for _, tc := range []struct {
		ends  error
		after bool // an answer
		want  codes.Code
	}{
		{nil, false, codes.Unavailable},
		{status.Error(codes.InvalidArgument, "of a message"), false, codes.Unavailable},
		{status.Error(codes.ResourceExhausted, "of a message"), false, codes.Unavailable},
		{status.Error(codes.Internal, "of a message"), false, codes.Unavailable},
		{status.Error(codes.Unavailable, "gone"), false, codes.Unavailable},
		{status.Error(codes.Unimplemented, "an old node"), false, codes.Unimplemented},
		{status.Error(codes.PermissionDenied, "a proxy"), false, codes.PermissionDenied},
		{status.Error(codes.PermissionDenied, "a proxy"), true, codes.Unavailable},
	} {
		s := script(t, func(stream grpc.BidiStreamingServer[semav1.ExchangeRequest, semav1.ExchangeResponse]) error {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			if tc.after {
				id := m.GetCalls()[0].GetId()
				if err := stream.Send(&semav1.ExchangeResponse{Answers: []*semav1.Answer{{Id: id, Response: &semav1.Answer_Acquire{}}}}); err != nil {
					return err
				}
				if _, err := stream.Recv(); err != nil {
					return err
				}
			}
			return tc.ends
		})
		c := acquiring("a")
		if tc.after {
			s.Do(t.Context(), c, 20*time.Second, nil)
			if c.Err != nil {
				t.Fatal(c.Err)
			}
			c = acquiring("b")
		}
		if sent := s.Do(t.Context(), c, 20*time.Second, nil); !sent || status.Code(c.Err) != tc.want {
			t.Errorf("%v: sent %v, %v, want %v", tc.ends, sent, c.Err, tc.want)
		}
	}
}

// A node may say anything.
func TestStreamOddAnswers(t *testing.T) {
	place := &semav1.Answer_Wait{Wait: &semav1.WaitResponse{Position: 1}}
	for _, tc := range []struct {
		what    string
		answers []*semav1.Answer
		want    codes.Code
	}{
		{"a place in line", []*semav1.Answer{{Id: 1, Response: place}}, codes.Internal},
		{"another method's answer", []*semav1.Answer{{Id: 1, Response: &semav1.Answer_Release{}}}, codes.Internal},
		{"none", []*semav1.Answer{{Id: 1}}, codes.Internal},
		{"to another call", []*semav1.Answer{{Id: 2, Response: place}, {Id: 0}, {Id: 1, Response: &semav1.Answer_Acquire{}}}, codes.OK},
		{"twice", []*semav1.Answer{{Id: 1, Response: &semav1.Answer_Acquire{}}, {Id: 1, Response: &semav1.Answer_Release{}}}, codes.OK},
	} {
		s := script(t, func(stream grpc.BidiStreamingServer[semav1.ExchangeRequest, semav1.ExchangeResponse]) error {
			if _, err := stream.Recv(); err != nil {
				return err
			}
			if err := stream.Send(&semav1.ExchangeResponse{Answers: tc.answers}); err != nil {
				return err
			}
			<-stream.Context().Done()
			return nil
		})
		c := acquiring("a")
		if sent := s.Do(t.Context(), c, 20*time.Second, nil); !sent || status.Code(c.Err) != tc.want {
			t.Errorf("%s: sent %v, %v, want %v", tc.what, sent, c.Err, tc.want)
		}
	}
}

func TestStreamClose(t *testing.T) {
	node := serve(t, "n1", nil)
	came, ended := slowly(&node.Node)
	s := transport.NewStream(node.conn)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			c := acquiring("slow")
			if sent := s.Do(t.Context(), c, 0, nil); !sent || status.Code(c.Err) != codes.Canceled {
				t.Errorf("sent %v, %v", sent, c.Err)
			}
		})
	}
	for range 10 {
		take(t, came, "the node was asked")
	}
	s.Close()
	if s.Exchanging() {
		t.Error("Close did not wait")
	}
	wg.Wait()
	s.Close() // idempotent
	c := acquiring("a")
	if sent := s.Do(t.Context(), c, 0, nil); sent || status.Code(c.Err) != codes.Canceled {
		t.Errorf("after that: sent %v, %v", sent, c.Err)
	}
	for range 10 {
		take(t, ended, "the node gave it up")
	}
	transport.NewStream(node.conn).Close() // that was never used
}

// The race detector knows whether another goroutine told.
func TestStreamTellsThePlaceByTheGoroutineThatCalls(t *testing.T) {
	node := serve(t, "n1", nil)
	release := holdA(t, node.client)
	for client := range byte(3) {
		expectPlace(t, startWait(t, within(t, 20*time.Second), node.client, waitForA(client+1, false)), uint32(client)+1, "me")
	}
	s := streamTo(t, node.conn)
	c := acquiring("a")
	c.Method, c.Positions, c.Attempt = transport.MethodWait, true, sema.Attempt{Client: sema.ClientID(make16(9)), Seq: 1, LowestOpen: 1}
	var places []int
	sent := s.Do(within(t, 20*time.Second), c, 0, func(p sema.Place) {
		places = append(places, p.Position)
		if p.Holder.Name != "a" {
			t.Errorf("the holder is %+v", p.Holder)
		}
		switch p.Position {
		case 4: // and while it is told that, the line moves on
			for client := range byte(3) {
				if _, err := node.client.Release(within(t, 20*time.Second), &semav1.ReleaseRequest{Name: "a", Attempt: waitForA(client+1, false).GetAttempt()}); err != nil {
					t.Error(err)
				}
				until(t, "the place has come", func() bool { return s.Untold() == 3-int(client) })
			}
		case 1:
			release()
		}
	})
	if !sent || c.Err != nil || c.Info.Status != sema.Acquired || c.Info.Name != "a" || fmt.Sprint(places) != "[4 1]" {
		t.Errorf("sent %v, %+v, told the places %v, want 4 and then the latest, 1", sent, c.Answer, places)
	}
}

func TestStreamWaitWithoutAnybodyToTell(t *testing.T) {
	node := serve(t, "n1", nil)
	waits := contexts(&node.Node)
	holdA(t, node.client)
	s := streamTo(t, node.conn)
	c := acquiring("a")
	c.Method, c.Attempt = transport.MethodWait, sema.Attempt{Client: sema.ClientID(make16(9)), Seq: 1, LowestOpen: 1}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan bool, 1)
	go func() { done <- s.Do(ctx, c, 0, nil) }()
	atNode := take(t, waits, "it came")
	until(t, "it waits", func() bool { return len(node.Line("a")) == 1 })
	cancel()
	if sent := take(t, done, "the call ended"); !sent || status.Code(c.Err) != codes.Canceled {
		t.Errorf("sent %v, %v", sent, c.Err)
	}
	eventually(t, "it waits no more", atNode.Done())
	if line := node.Line("a"); len(line) != 1 { // its place is kept
		t.Errorf("in line are %v", line)
	}
}

// What was asked before the node said that it stops is answered there; what comes later
// goes over another exchange.
func TestStreamDrains(t *testing.T) {
	first, second := serve(t, "n1", nil), serve(t, "n2", nil)
	asked, proceed := make(chan struct{}, 100), make(chan struct{})
	first.Intercept(func(_ context.Context, _ any, apply func() error) error {
		asked <- struct{}{}
		<-proceed
		return apply()
	})
	var addr atomic.Value
	addr.Store(first.addr)
	s := streamTo(t, dialing(t, &addr))
	const callers = 50
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			c := acquiring(fmt.Sprint("early ", i))
			if s.Do(t.Context(), c, 0, nil); c.Err != nil {
				t.Errorf("a call that was under way: %v", c.Err)
			}
		})
	}
	for range callers {
		take(t, asked, "the node was asked")
	}
	addr.Store(second.addr)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		first.server.Stop(context.Background())
	}()
	until(t, "the node has said that it stops", func() bool { return !s.Exchanging() })
	until(t, "another node answers", func() bool {
		c := acquiring("late")
		s.Do(t.Context(), c, 100*time.Millisecond, nil)
		return c.Err == nil
	})
	if second.Holder("late") == (sema.Info{}) {
		t.Error("the node that stops has answered")
	}
	close(proceed)
	wg.Wait()
	eventually(t, "it stopped", stopped)
}

// Calls that come while the node stops are answered, or were not sent, or say that it
// is not known: none is lost.
func TestStreamNothingIsLostWhenANodeStops(t *testing.T) {
	node := serve(t, "n1", nil)
	s := streamTo(t, node.conn)
	answered, stopping := new(atomic.Int64), make(chan struct{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for n := 0; ; n++ {
				c := acquiring(fmt.Sprint("lock ", i, " ", n))
				sent := s.Do(t.Context(), c, 20*time.Second, nil)
				if held := node.Holder(c.Name).Owner == "me"; c.Err == nil != held && !(sent && c.Err != nil) {
					t.Errorf("sent %v, %v, and held is %v", sent, c.Err, held)
				}
				if c.Err != nil {
					return
				}
				if answered.Add(1) == 500 {
					close(stopping)
				}
			}
		})
	}
	eventually(t, "calls were answered", stopping)
	node.server.Stop(within(t, 20*time.Second))
	wg.Wait()
}
