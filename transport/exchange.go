package transport

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// Variables, for tests to lower.
var (
	// maxOpen bounds the calls of one exchange that are not answered yet, or whose
	// answers were not read yet. Beyond it nothing more is read from the client. Those
	// that wait in line do not count: what they wait for may be the release that is
	// read next.
	maxOpen = 16_384
	// maxWaits bounds those. Beyond it the answer is sema.ErrOverloaded.
	maxWaits = 4 * maxOpen
)

// fullMessage is from which size on no more is put into a message. The largest
// answer, with a thousand tickets, is a third of MaxMessageBytes.
const fullMessage = MaxMessageBytes / 2

// exchange is the node's end of a stream that carries the calls of many callers. Its
// goroutines are the handler's own, which reads, one that writes, and one for each
// call that may block: those that wait in line, and those for which another node has
// to be asked. All others are answered by whoever decides them.
type exchange struct {
	h       *handler
	starter Starter // nil: the backend is none
	ctx     context.Context
	caller  *caller       // nil: whoever it is, may do everything
	wake    chan struct{} // holds one token: there may be something to send
	room    chan struct{} // holds one token: there may be room for more calls
	wg      sync.WaitGroup

	mu      sync.Mutex
	open    map[uint64]*exchanged
	waits   int          // of those open
	ready   []*exchanged // answered and not sent
	sending int          // answered, and about to be sent
	placed  []*exchanged // whose place in line is to be told
	ended   bool         // the client asks nothing more

	heard time.Time // when the message came that is being read, if calls are counted
}

// exchanged is one call.
type exchanged struct {
	Started
	id     uint64
	ex     *exchange
	cancel context.CancelFunc // of a call with a goroutine
	gone   bool               // nobody wants the answer
	place  *sema.Place        // the latest
	untold bool               // it is in placed
	began  time.Time          // when it came, if calls are counted
}

// Exchange implements semav1.SemaServer.
func (h *handler) Exchange(stream grpc.BidiStreamingServer[semav1.ExchangeRequest, semav1.ExchangeResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	ex := &exchange{h: h, ctx: ctx, caller: callerOf(ctx), wake: make(chan struct{}, 1), room: make(chan struct{}, 1), open: map[uint64]*exchanged{}}
	ex.starter, _ = h.backend.(Starter)
	h.calls.enter(ex)
	defer h.calls.leave(ex)
	sent := make(chan error, 1)
	go func() {
		err := ex.send(stream)
		cancel() // whoever reads waits for room no more
		sent <- err
	}()
	err := ex.receive(stream)
	if err == nil {
		ex.end()
		err = <-sent // nil: all that was asked is answered
		ex.abandon()
	} else {
		cancel()
		ex.abandon()
		<-sent
	}
	ex.discard()
	ex.wg.Wait()
	return err
}

// receive takes calls until the client half-closes.
func (ex *exchange) receive(stream grpc.ServerStream) error {
	var message Undecoded
	for {
		if err := stream.RecvMsg(&message); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		ex.heard = ex.h.calls.now()
		var refused error // the first that is; nothing after it is begun
		err := readCalls(message, func(m *callMessage) {
			if refused == nil {
				refused = ex.begin(m)
			}
		})
		if refused != nil {
			return refused
		}
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "an ExchangeRequest that cannot be read: %v", err)
		}
		if ex.caller != nil { // what was refused is told at once, and what comes next is read later
			ex.caller.settle(ex.ctx)
		}
	}
}

// admit notes a call as open. It waits while too many are.
func (ex *exchange) admit(x *exchanged) error {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	for len(ex.open)-ex.waits+len(ex.ready)+ex.sending >= maxOpen {
		ex.mu.Unlock()
		select {
		case <-ex.room:
		case <-ex.ctx.Done():
		}
		ex.mu.Lock()
		if err := ex.ctx.Err(); err != nil {
			return status.FromContextError(err).Err()
		}
	}
	if _, twice := ex.open[x.id]; twice {
		return status.Errorf(codes.InvalidArgument, "two open calls have the id %d", x.id)
	}
	ex.open[x.id] = x
	if x.Method == MethodWait {
		if ex.waits++; ex.waits > maxWaits && x.Err == nil {
			x.Err = sema.ErrOverloaded
		}
	}
	return nil
}

// begin begins a call that came, or gives one up.
func (ex *exchange) begin(m *callMessage) error {
	if m.cancel {
		ex.giveUp(m.id)
		return nil
	}
	x := &exchanged{id: m.id, ex: ex, Started: Started{Call: m.Call}, began: ex.heard}
	x.By = x
	x.continueTrace(ex.h.tracing)
	if m.timeout > 0 {
		x.Deadline = time.Now().Add(m.timeout)
	}
	if ex.caller != nil {
		if err := ex.caller.mayCall(&x.Call); err != nil {
			x.Err = err
		}
	}
	if x.Err == nil {
		x.Err = validateAttempt(m.Attempt) // one without a client would be dropped on the way
	}
	if m.none {
		x.Err = status.Error(codes.Unimplemented, "a call that this version does not know")
	}
	if err := ex.admit(x); err != nil {
		return err
	}
	switch {
	case x.Err != nil:
		x.Answered()
	case ex.starter == nil || m.Method == MethodWait || !ex.starter.Start(&x.Started):
		ex.mu.Lock()
		defer ex.mu.Unlock()
		ex.carryOut(x)
	}
	return nil
}

// Answered implements [Asker]. A call that this node turns out not to decide goes on
// elsewhere, with a goroutine of its own.
func (x *exchanged) Answered() {
	ex := x.ex
	ex.mu.Lock()
	defer ex.mu.Unlock()
	if _, elsewhere := isNotLeader(x.Err); elsewhere && x.cancel == nil && !x.gone && ex.ctx.Err() == nil {
		x.Answer = Answer{}
		ex.carryOut(x)
		return
	}
	delete(ex.open, x.id)
	if x.Method == MethodWait {
		ex.waits--
	}
	if !x.gone {
		ex.ready = append(ex.ready, x)
	} else {
		ex.unsent(x)
	}
	signal(ex.wake) // also if nobody is told: it may have been the last, and made room
}

// carryOut has a call decided by a goroutine that may block. ex.mu is held.
func (ex *exchange) carryOut(x *exchanged) {
	ctx, cancel := ex.ctx, context.CancelFunc(nil)
	if x.Deadline.IsZero() {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithDeadline(ctx, x.Deadline)
	}
	x.cancel = cancel
	ex.wg.Go(func() {
		defer cancel()
		hint := new(leaderHint)
		ctx := inProcess(ctx, hint)
		if x.Account != nil {
			ctx = withJudged(ctx, x.Account)
		}
		if x.Span != nil {
			ctx = trace.ContextWithSpan(ctx, x.Span)
		}
		if x.Method == MethodWait {
			x.Info, x.Err = ex.wait(ctx, x)
		} else {
			x.Answer = x.Unary(ctx, ex.h.inProcess, nil)
		}
		x.Leader = hint.leader()
		x.Answered()
	})
}

// wait is a Wait of its own, but for the stream.
func (ex *exchange) wait(ctx context.Context, x *exchanged) (info sema.Info, err error) {
	m := &semav1.WaitRequest{Name: x.Name, Owner: x.Owner, Timeout: durationpb.New(x.Timeout), Attempt: AttemptToWire(x.Attempt, x.Retry), Positions: x.Positions}
	err = ex.h.wait(ctx, m, func(resp *semav1.WaitResponse) error {
		if resp.GetInfo() != nil {
			info = InfoFromWire(resp.GetInfo())
			return nil
		}
		ex.tellPlace(x, sema.Place{Position: int(resp.GetPosition()), Holder: InfoFromWire(resp.GetHolder())})
		return nil
	})
	return info, err
}

// tellPlace has a place in line told. One that was not sent yet is replaced.
func (ex *exchange) tellPlace(x *exchanged, p sema.Place) {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	x.place = &p
	if !x.untold {
		x.untold = true
		ex.placed = append(ex.placed, x)
	}
	signal(ex.wake)
}

// giveUp ends a call whose caller has gone.
func (ex *exchange) giveUp(id uint64) {
	ex.mu.Lock()
	x := ex.open[id]
	if x == nil {
		ex.mu.Unlock()
		return
	}
	x.gone = true
	cancel := x.cancel
	ex.mu.Unlock()
	ex.stop(x, cancel)
}

func (ex *exchange) stop(x *exchanged, cancel context.CancelFunc) {
	if cancel != nil {
		cancel()
	} else if x.Handle != nil {
		ex.starter.Abandon(&x.Started)
	}
}

// abandon gives up on all calls: the client is gone.
func (ex *exchange) abandon() {
	ex.mu.Lock()
	left := make([]*exchanged, 0, len(ex.open))
	for _, x := range ex.open {
		if x.gone = true; x.cancel == nil { // else the context tells it
			left = append(left, x)
		}
	}
	ex.mu.Unlock()
	for _, x := range left {
		ex.stop(x, nil)
	}
}

// discard counts the answers that nobody will be sent any more, as those of calls whose
// caller has gone. All calls are abandoned: no answer comes to be ready.
func (ex *exchange) discard() {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	for _, x := range ex.ready {
		ex.unsent(x)
	}
	ex.ready = nil
}

// unsent counts a call whose answer nobody wants.
func (ex *exchange) unsent(x *exchanged) {
	ex.h.calls.ended(x, context.Canceled, ex.h.calls.now())
	if x.Span != nil {
		EndSpan(x.Span, context.Canceled)
	}
}

// end notes that the client asks nothing more.
func (ex *exchange) end() {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	ex.ended = true
	signal(ex.wake)
}

// signal wakes whoever waits for the channel, now or the next time.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
