package transport_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// starter is a node that begins calls and leaves it to the test to answer them.
type starter struct {
	fakenode.Node
	started   chan *transport.Started
	abandoned chan *transport.Started
}

func newStarter() *starter {
	return &starter{started: make(chan *transport.Started, 1000), abandoned: make(chan *transport.Started, 1000)}
}

func (s *starter) Start(x *transport.Started) bool {
	x.Handle = s
	s.started <- x
	return true
}

func (s *starter) Abandon(x *transport.Started) { s.abandoned <- x }

// next returns the call that was begun next.
func (s *starter) next(t testing.TB) *transport.Started {
	t.Helper()
	return take(t, s.started, "a call was begun")
}

func take[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("not within 20 s: %s", what)
		panic("unreachable")
	}
}

// grant answers a started call.
func grant(x *transport.Started) {
	x.Info = sema.Info{Status: sema.Acquired, Name: x.Name, Owner: x.Owner, Token: 7}
	x.By.Answered()
}

// talk is an exchange as its client sees it, message by message.
type talk struct {
	t      testing.TB
	stream grpc.BidiStreamingClient[semav1.ExchangeRequest, semav1.ExchangeResponse]
	got    []*semav1.Answer // and not looked at yet
	drains bool
}

func talkTo(t testing.TB, ctx context.Context, c semav1.SemaClient) *talk {
	t.Helper()
	stream, err := c.Exchange(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &talk{t: t, stream: stream}
}

func (k *talk) ask(calls ...*semav1.Call) {
	k.t.Helper()
	if err := k.stream.Send(&semav1.ExchangeRequest{Calls: calls}); err != nil {
		k.t.Fatal(err)
	}
}

// answer wants the next answer to be to this call.
func (k *talk) answer(id uint64) *semav1.Answer {
	k.t.Helper()
	for len(k.got) == 0 {
		m, err := k.stream.Recv()
		if err != nil {
			k.t.Fatalf("waiting for the answer to %d: %v", id, err)
		}
		k.got, k.drains = m.GetAnswers(), k.drains || m.GetDraining()
	}
	a := k.got[0]
	if k.got = k.got[1:]; a.GetId() != id {
		k.t.Fatalf("answered %v, want an answer to %d", a, id)
	}
	return a
}

// fails wants the next answer to be this call's, and an error.
func (k *talk) fails(id uint64, code codes.Code) {
	k.t.Helper()
	a := k.answer(id)
	data := marshal(k.t, &semav1.ExchangeResponse{Answers: []*semav1.Answer{a}})
	read, _, err := transport.ReadAnswers(data)
	if err != nil || len(read) != 1 || status.Code(read[0].Err) != code {
		k.t.Fatalf("call %d: %+v, %v, want %v", id, read, err, code)
	}
}

// ends wants no answer any more, and the stream to end like this.
func (k *talk) ends(code codes.Code) {
	k.t.Helper()
	for {
		m, err := k.stream.Recv()
		switch {
		case err == nil && len(m.GetAnswers()) == 0 && len(k.got) == 0:
			k.drains = k.drains || m.GetDraining()
		case err == io.EOF && code == codes.OK, err != nil && err != io.EOF && status.Code(err) == code:
			return
		default:
			k.t.Fatalf("%v, %v, %v, want the end with %v", k.got, m, err, code)
		}
	}
}

func acquireCall(id uint64, name string) *semav1.Call {
	return &semav1.Call{Id: id, Request: &semav1.Call_Acquire{Acquire: &semav1.AcquireRequest{Name: name, Owner: "me", Timeout: durationpb.New(time.Minute)}}}
}

func cancelCall(id uint64) *semav1.Call {
	return &semav1.Call{Id: id, Request: &semav1.Call_Cancel{Cancel: new(semav1.Cancel)}}
}

func waitCall(id uint64, client byte) *semav1.Call {
	return &semav1.Call{Id: id, Request: &semav1.Call_Wait{Wait: waitForA(client, true)}}
}

func TestExchangeAnswersInAnyOrder(t *testing.T) {
	s := newStarter()
	k := talkTo(t, within(t, 20*time.Second), serveBackend(t, "n1", s, nil, nil).client)
	k.ask(acquireCall(1, "a"), acquireCall(2, "b"))
	k.ask(acquireCall(3, "c"))
	begun := []*transport.Started{s.next(t), s.next(t), s.next(t)}
	for _, i := range []int{2, 0, 1} {
		grant(begun[i])
		a := k.answer(uint64(i) + 1)
		if info := a.GetAcquire().GetInfo(); info.GetStatus() != semav1.Status_ACQUIRED || info.GetToken() != 7 || info.GetName() != "" {
			t.Errorf("answered %v", a)
		}
	}
	if err := k.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	k.ends(codes.OK)
}

// slowly makes a node keep calls for the name slow until their context ends, and tell
// of each that it came and why it ended.
func slowly(node *fakenode.Node) (came chan struct{}, ended chan error) {
	came, ended = make(chan struct{}, 1000), make(chan error, 1000)
	node.Intercept(func(ctx context.Context, req any, apply func() error) error {
		if req, ok := req.(transport.AcquireRequest); !ok || req.Name != "slow" {
			return apply()
		}
		came <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	})
	return came, ended
}

func TestExchangeDeadlineIsOneCallsOwn(t *testing.T) {
	node := serve(t, "n1", nil)
	_, ended := slowly(&node.Node)
	k := talkTo(t, within(t, 20*time.Second), node.client)
	soon, late := acquireCall(1, "slow"), acquireCall(2, "slow")
	soon.TimeoutMicros = 20_000
	late.TimeoutMicros = 3600 * 1e6
	k.ask(soon, late)
	k.fails(1, codes.DeadlineExceeded)
	k.ask(acquireCall(3, "b"))
	if a := k.answer(3); a.GetAcquire() == nil {
		t.Errorf("answered %v", a)
	}
	if err := take(t, ended, "the call ended"); err != context.DeadlineExceeded || len(ended) != 0 {
		t.Errorf("it ended with %v, and %d others did", err, len(ended))
	}
	k.ask(cancelCall(2))
	if err := take(t, ended, "the call ended"); err != context.Canceled {
		t.Errorf("the other one ended with %v", err)
	}
}

func TestExchangeTellsAStarterTheDeadline(t *testing.T) {
	s := newStarter()
	k := talkTo(t, within(t, 20*time.Second), serveBackend(t, "n1", s, nil, nil).client)
	limited := acquireCall(1, "a")
	limited.TimeoutMicros = 3600 * 1e6
	k.ask(limited, acquireCall(2, "b"))
	if left := time.Until(s.next(t).Deadline); left > time.Hour || left < time.Hour-time.Minute {
		t.Errorf("%v left, want the hour", left)
	}
	if d := s.next(t).Deadline; !d.IsZero() {
		t.Errorf("a call without a limit has until %v", d)
	}
}

func TestExchangeCancelsOneThatWaits(t *testing.T) {
	node := serve(t, "n1", nil)
	holdA(t, node.client)
	waits := contexts(&node.Node)
	k := talkTo(t, within(t, 20*time.Second), node.client)
	k.ask(waitCall(1, 1), waitCall(2, 2))
	told := map[uint64]bool{}
	for range 2 {
		m, err := k.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range m.GetAnswers() {
			told[a.GetId()] = a.GetWait().GetPosition() > 0 && a.GetWait().GetInfo() == nil
		}
		if len(told) == 2 {
			break
		}
	}
	if !told[1] || !told[2] {
		t.Fatalf("told %v", told)
	}
	ctxs := []context.Context{take(t, waits, "a wait came"), take(t, waits, "a wait came")}
	k.ask(cancelCall(1), cancelCall(99)) // the latter is nobody's
	select {
	case <-ctxs[0].Done():
	case <-ctxs[1].Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the wait goes on")
	}
	k.ask(cancelCall(2))
	eventually(t, "the wait ended", ctxs[0].Done())
	eventually(t, "the wait ended", ctxs[1].Done())
	if err := k.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	k.ends(codes.OK) // without an answer, and it does end
}

func TestExchangeCancelsOneThatWasStarted(t *testing.T) {
	s := newStarter()
	k := talkTo(t, within(t, 20*time.Second), serveBackend(t, "n1", s, nil, nil).client)
	k.ask(acquireCall(1, "a"), acquireCall(2, "b"))
	first, second := s.next(t), s.next(t)
	k.ask(cancelCall(1), acquireCall(3, "c"))
	if x := take(t, s.abandoned, "the call was given up"); x != first {
		t.Fatalf("given up was %q", x.Name)
	}
	third := s.next(t)
	if err := k.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	grant(second)
	k.answer(2)
	grant(third)
	k.answer(3)
	grant(first) // too late to have no effect, and the last: nobody is told, and the stream ends
	k.ends(codes.OK)
}

func TestExchangeRefusesTwoOpenCallsWithOneID(t *testing.T) {
	s := newStarter()
	m := serveBackend(t, "n1", s, nil, nil)
	k := talkTo(t, within(t, 20*time.Second), m.client)
	k.ask(acquireCall(1, "a"))
	first := s.next(t)
	k.ask(acquireCall(1, "b"), acquireCall(2, "c"))
	k.ends(codes.InvalidArgument)
	if x := take(t, s.abandoned, "what was open was given up"); x != first || len(s.started) != 0 {
		t.Errorf("given up was %q, and %d were begun after the fault", x.Name, len(s.started))
	}
	grant(first)                                       // nobody is told
	k = talkTo(t, within(t, 20*time.Second), m.client) // the connection is as good as before
	k.ask(acquireCall(1, "d"))
	grant(s.next(t))
	k.answer(1)
}

// An enormous message of faults costs no more than one.
func TestExchangeStopsAtTheFirstFault(t *testing.T) {
	s := newStarter()
	m := serveBackend(t, "n1", s, nil, nil)
	stream, err := m.conn.NewStream(within(t, 20*time.Second), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		semav1.Sema_Exchange_FullMethodName, grpc.ForceCodec(raw{}))
	if err != nil {
		t.Fatal(err)
	}
	message := bytes.Repeat([]byte{0x0a, 0x02, 0x3a, 0x00}, 250_000) // all have the id 0
	if err := stream.SendMsg(&message); err != nil {
		t.Fatal(err)
	}
	var response []byte
	if err := stream.RecvMsg(&response); status.Code(err) != codes.InvalidArgument || len(err.Error()) > 200 {
		t.Errorf("ended with %.500v", err)
	}
	if n := len(s.started); n != 1 {
		t.Errorf("%d were begun", n)
	}
}

func TestExchangeOfAMessageThatCannotBeRead(t *testing.T) {
	m := serve(t, "n1", nil)
	stream, err := m.conn.NewStream(within(t, 20*time.Second), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
		semav1.Sema_Exchange_FullMethodName, grpc.ForceCodec(raw{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&[]byte{0x0a, 0x05}); err != nil {
		t.Fatal(err)
	}
	var response []byte
	if err := stream.RecvMsg(&response); status.Code(err) != codes.InvalidArgument {
		t.Errorf("ended with %v", err)
	}
}

func TestExchangeRefusesOneCallAlone(t *testing.T) {
	node := serve(t, "n1", nil)
	k := talkTo(t, within(t, 20*time.Second), node.client)
	later := &semav1.Call{Id: 1}
	later.ProtoReflect().SetUnknown([]byte{0x7a, 0x00}) // a method of a later version
	short := acquireCall(2, "a")
	short.GetAcquire().Attempt = &semav1.Attempt{Client: []byte("short")}
	k.ask(later)
	k.fails(1, codes.Unimplemented)
	k.ask(short)
	k.fails(2, codes.InvalidArgument)
	k.ask(acquireCall(3, ""))
	k.fails(3, codes.InvalidArgument)
	nobody := acquireCall(5, "a")
	nobody.GetAcquire().Attempt = &semav1.Attempt{Seq: 7, LowestOpen: 7} // by what would it be known again?
	k.ask(nobody)
	k.fails(5, codes.InvalidArgument)
	if len(node.Requests()) != 0 {
		t.Errorf("the backend was asked %v", node.Requests())
	}
	k.ask(acquireCall(4, "a"))
	if a := k.answer(4); a.GetAcquire().GetInfo().GetStatus() != semav1.Status_ACQUIRED {
		t.Errorf("answered %v", a)
	}
}

// quick is a node that answers what it begins at once, and counts.
type quick struct {
	fakenode.Node
	begun atomic.Int64
	full  chan struct{} // closed when so many were begun
	limit int64
}

func (q *quick) Start(x *transport.Started) bool {
	if q.begun.Add(1) == q.limit {
		close(q.full)
	}
	grant(x)
	return true
}

func (q *quick) Abandon(*transport.Started) {}

// narrow is a connection whose windows do not grow.
func narrow(t testing.TB, m *member) semav1.SemaClient {
	conn, err := grpc.NewClient("passthrough:///"+m.addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(65_535), grpc.WithInitialConnWindowSize(65_535))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return semav1.NewSemaClient(conn)
}

// A client that does not read its answers is not read from, and holds up nobody else.
// When it does, it has them all.
func TestExchangeDoesNotReadFromWhoDoesNotRead(t *testing.T) {
	const open, all, together = 1000, 20_000, 100
	transport.LowerExchangeLimits(t, open, 4*open)
	q := &quick{full: make(chan struct{}), limit: open}
	m := serveBackend(t, "n1", q, nil, nil)
	k := talkTo(t, within(t, 60*time.Second), narrow(t, m))
	sent := make(chan error, 1)
	go func() {
		for id := 0; id < all; id += together {
			req := new(semav1.ExchangeRequest)
			for i := range together {
				c := acquireCall(uint64(id+i), "a")
				c.GetAcquire().Owner = fmt.Sprintf("%0200d", id+i)
				req.Calls = append(req.Calls, c)
			}
			if err := k.stream.Send(req); err != nil {
				sent <- err
				return
			}
		}
		sent <- k.stream.CloseSend()
	}()
	eventually(t, "as many were begun as may be open", q.full)

	other := talkTo(t, within(t, 60*time.Second), m.client)
	for id := range uint64(200) {
		other.ask(acquireCall(id, "b"))
		other.answer(id)
	}
	// What gRPC took is not open: its windows, and the message that it was given last.
	if n := q.begun.Load() - 200; n > 6*open {
		t.Errorf("%d of %d calls were begun, and no answer was read", n, all)
	}
	read := map[uint64]bool{}
	for {
		m, err := k.stream.Recv()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, a := range m.GetAnswers() {
			read[a.GetId()] = true
		}
	}
	if err := <-sent; err != nil || len(read) != all {
		t.Errorf("%d answers to %d calls, %v", len(read), all, err)
	}
}

// What nobody answers is not added to, also within one message, until one is.
func TestExchangeHasSoManyOpenAtMost(t *testing.T) {
	const open = 10
	transport.LowerExchangeLimits(t, open, 4*open)
	s := newStarter()
	k := talkTo(t, within(t, 20*time.Second), serveBackend(t, "n1", s, nil, nil).client)
	req := new(semav1.ExchangeRequest)
	for id := range uint64(3 * open) {
		req.Calls = append(req.Calls, acquireCall(id, "a"))
	}
	k.ask(req.GetCalls()...)
	for id := range uint64(3 * open) {
		x := s.next(t)
		if n := len(s.started); n > open-1 {
			t.Fatalf("%d are open", n+1)
		}
		grant(x)
		k.answer(id)
	}
}

// waitsForEver is a node at which a wait never ends by itself.
type waitsForEver struct {
	fakenode.Node
	came chan struct{}
}

func (w *waitsForEver) Wait(ctx context.Context, _ transport.AcquireRequest, _ func(sema.Place)) (sema.Info, error) {
	w.came <- struct{}{}
	<-ctx.Done()
	return sema.Info{}, ctx.Err()
}

// Who waits in line may wait for what the same client is about to release.
func TestExchangeReadsOnWhileManyWaitInLine(t *testing.T) {
	const open, waits = 10, 40
	transport.LowerExchangeLimits(t, open, waits)
	w := &waitsForEver{came: make(chan struct{}, waits)}
	k := talkTo(t, within(t, 20*time.Second), serveBackend(t, "n1", w, nil, nil).client)
	for id := range uint64(waits) {
		k.ask(waitCall(id, byte(id+1)))
	}
	for range waits {
		<-w.came
	}
	k.ask(acquireCall(1000, "a"))
	k.answer(1000)
	k.ask(waitCall(1001, 101))
	k.fails(1001, codes.ResourceExhausted)
	k.ask(cancelCall(0))
	for id := uint64(2000); len(w.came) == 0; id++ { // there is room once that one has ended
		k.ask(waitCall(id, 102), acquireCall(id+1_000_000, "a"))
		for last := uint64(0); last != id+1_000_000; k.got = k.got[1:] {
			if len(k.got) == 0 {
				m, err := k.stream.Recv()
				if err != nil {
					t.Fatal(err)
				}
				k.got = m.GetAnswers()
			}
			last = k.got[0].GetId()
		}
	}
}

// A node that was deposed passes on what it had begun, once, and says where the leader is.
func TestExchangePassesOnWhatWasStarted(t *testing.T) {
	leader, s := serve(t, "n1", nil), newStarter()
	notLeader := &sema.NotLeaderError{Leader: sema.Leader{ID: "n1", RaftAddr: leader.addr, GRPCAddr: "clients.of.n1:1"}}
	s.Intercept(func(context.Context, any, func() error) error { return notLeader })
	k := talkTo(t, within(t, 20*time.Second), serveBackend(t, "n2", s, passing(t), nil).client)
	k.ask(acquireCall(1, "a"))
	x := s.next(t)
	x.Err = notLeader
	x.By.Answered()
	a := k.answer(1)
	if a.GetAcquire().GetInfo().GetStatus() != semav1.Status_ACQUIRED || a.GetLeader() != "clients.of.n1:1" {
		t.Errorf("answered %v", a)
	}
	if n := len(leader.Requests()); n != 1 || leader.Holder("a").Owner != "me" {
		t.Errorf("the leader was asked %d times", n)
	}

	k.ask(acquireCall(2, "b")) // what may have taken effect is not passed on
	x = s.next(t)
	x.Err = &sema.OutcomeUnknownError{Cause: notLeader}
	x.By.Answered()
	k.fails(2, codes.Unknown)

	k.ask(acquireCall(3, "c")) // nor is what nobody wants any more
	x = s.next(t)
	k.ask(cancelCall(3))
	take(t, s.abandoned, "it was given up")
	x.Err = notLeader
	x.By.Answered()
	if err := k.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	k.ends(codes.OK)
	if n := len(leader.Requests()); n != 1 {
		t.Errorf("the leader was asked %d times", n)
	}
}

func TestExchangeGivesUpWhatIsOpenWhenItsClientIsGone(t *testing.T) {
	s := newStarter()
	m := serveBackend(t, "n1", s, nil, nil)
	ctx, cancel := context.WithCancel(within(t, 20*time.Second))
	k := talkTo(t, ctx, m.client)
	var begun []*transport.Started
	for id := range uint64(10) {
		k.ask(acquireCall(id, "a"))
		begun = append(begun, s.next(t))
	}
	k.ask(waitCall(100, 1))
	cancel()
	for range begun {
		take(t, s.abandoned, "it was given up")
	}
	for _, x := range begun {
		x.Err = &sema.NotLeaderError{}
		x.By.Answered()
	}
	if n := len(s.Requests()); n > 1 { // the wait
		t.Errorf("it asked elsewhere, %d times", n)
	}
}

// What was asked is answered, and then the stream ends.
func TestExchangeDrains(t *testing.T) {
	s := newStarter()
	m := serveBackend(t, "n1", s, nil, nil)
	k := talkTo(t, within(t, 20*time.Second), m.client)
	k.ask(acquireCall(1, "a"))
	first := s.next(t)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		m.server.Stop(context.Background())
	}()
	for !k.drains {
		resp, err := k.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		k.drains = resp.GetDraining()
	}
	k.ask(acquireCall(2, "b")) // on its way when the node said so
	second := s.next(t)
	if err := k.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stopped:
		t.Error("it stopped with calls under way")
	default:
	}
	grant(second)
	k.answer(2)
	grant(first)
	k.answer(1)
	k.ends(codes.OK)
	eventually(t, "it stopped", stopped)
}

func TestExchangeStopEndsWhatWaitsInLine(t *testing.T) {
	m := serve(t, "n1", nil)
	holdA(t, m.client)
	k := talkTo(t, within(t, 20*time.Second), m.client)
	k.ask(waitCall(1, 1))
	k.answer(1) // its place
	var wg sync.WaitGroup
	wg.Go(func() { m.server.Stop(context.Background()) })
	k.fails(1, codes.Unknown)
	if err := k.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	k.ends(codes.OK)
	wg.Wait()
}

// dialing is a connection to whoever is at the address at that time.
func dialing(t testing.TB, addr *atomic.Value, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///somewhere", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(transport.ReconnectParams),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr.Load().(string))
		})}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
