package transport

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// Method is what a [Call] asks for.
type Method uint8

// The methods that travel in an exchange.
const (
	MethodAcquire Method = iota + 1
	MethodWait
	MethodTouch
	MethodRelease
	MethodGet
)

// Call is a request with its answer, as an exchange between a client and a node
// carries it: the frequent methods of a [Backend] in one flat type, so that many of
// them can be kept, sent and answered together. Which fields count depends on the
// method.
type Call struct {
	Method    Method
	Name      string
	Token     uint64 // Touch, Release
	Attempt   sema.Attempt
	Owner     string        // Acquire, Wait
	Timeout   time.Duration // Acquire, Wait: of the hold
	Retry     bool          // Acquire, Wait: see [AcquireRequest]
	Positions bool          // Wait: see [AcquireRequest]
	Stale     bool          // Get
	Line      int           // Get
	Trace     []byte        // see [TraceOf]; nil: the caller does not trace it
	Account   *Account      // of the client, as the node knows it; it does not travel

	Answer
}

// Answer is what a [Call] came to.
type Answer struct {
	Err      error // the fields below, but for Leader, count if it is nil
	Info     sema.Info
	Released bool          // Release
	Tickets  []sema.Ticket // Get
	Leader   string        // where the leader can be asked directly, if the call was passed on
}

// A Starter is a [Backend] that can answer calls without a goroutine for each.
type Starter interface {
	// Start begins a call, unless that could block: then it is false, and nothing has
	// happened. Otherwise the call is answered once, now or later, by whichever
	// goroutine.
	Start(s *Started) bool
	// Abandon gives up on a call that was started. If that is in time, the call has
	// no effect. It is answered in any case.
	Abandon(s *Started)
}

// Started is a call that a [Starter] carries out.
type Started struct {
	Call
	// Deadline is when nobody waits for it any more, by the clock of this process. A
	// call that is not under way by then has no effect. Zero: never.
	Deadline time.Time
	// By is told when Answer is set.
	By Asker
	// Span is what traces the call, nil if nobody does.
	Span trace.Span
	// Handle is for the Starter.
	Handle any
}

// Asker has asked something.
type Asker interface {
	// Answered must not block.
	Answered()
}

// Unary makes the call as one of its own, over gRPC or within this process. Its error is
// a gRPC status.
func (c *Call) Unary(ctx context.Context, to semav1.SemaClient, told func(sema.Place), opts ...grpc.CallOption) (a Answer) {
	switch c.Method {
	case MethodAcquire:
		m, err := to.Acquire(ctx, &semav1.AcquireRequest{Name: c.Name, Owner: c.Owner, Timeout: durationpb.New(c.Timeout),
			Attempt: AttemptToWire(c.Attempt, c.Retry)}, opts...)
		a.Info, a.Err = InfoFromWire(m.GetInfo()), err
	case MethodWait:
		m, err := ReceiveWait(to, ctx, &semav1.WaitRequest{Name: c.Name, Owner: c.Owner, Timeout: durationpb.New(c.Timeout),
			Attempt: AttemptToWire(c.Attempt, c.Retry), Positions: c.Positions}, func(m *semav1.WaitResponse) error {
			told(sema.Place{Position: int(m.GetPosition()), Holder: InfoFromWire(m.GetHolder())})
			return nil
		}, opts...)
		a.Info, a.Err = InfoFromWire(m.GetInfo()), err
	case MethodTouch:
		m, err := to.Touch(ctx, &semav1.TouchRequest{Name: c.Name, Token: c.Token, Attempt: AttemptToWire(c.Attempt, false)}, opts...)
		a.Info, a.Err = InfoFromWire(m.GetInfo()), err
	case MethodRelease:
		m, err := to.Release(ctx, &semav1.ReleaseRequest{Name: c.Name, Token: c.Token, Attempt: AttemptToWire(c.Attempt, false)}, opts...)
		a.Released, a.Err = m.GetReleased(), err
	case MethodGet:
		m, err := to.Get(ctx, &semav1.GetRequest{Name: c.Name, Stale: c.Stale, Line: uint32(c.Line)}, opts...)
		a.Info, a.Tickets, a.Err = InfoFromWire(m.GetInfo()), LineFromWire(m.GetLine()), err
	default:
		a.Err = errors.ErrUnsupported
	}
	return a
}
