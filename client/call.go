package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

const (
	// maxHops is how many hints are followed in a row. Two nodes that take each
	// other for the leader would otherwise be asked in circles.
	maxHops = 3
	// minTry is the least time worth giving to a try.
	minTry = 100 * time.Millisecond
)

// caller makes calls: it tries until there is an answer or the context ends.
type caller struct {
	nodes       *nodes
	tryTimeout  time.Duration
	backoffBase time.Duration
	backoffMax  time.Duration
	log         hclog.Logger
	tracer      trace.Tracer    // nil: nobody traces
	life        context.Context // ends with Client.Close
}

// kind is what a call may do to the cluster.
type kind int

const (
	reads  kind = iota
	writes      // and is answered soon
	waits       // and is answered when it is
)

// tries are those of one call.
type tries struct {
	*caller
	kind    kind
	repeat  bool // a try may have taken effect, and its answer is not known
	hops    int  // hints followed since the last pause
	backoff time.Duration
	spent   []*node // that failed in this round through the endpoints
	asked   []EndpointError
}

// try asks one node, once. repeat is true if an earlier try may have taken effect. It
// returns where the leader is, if that is another node, and whether the request may
// have left this process.
type try func(ctx context.Context, n *node, repeat bool) (leader string, sent bool, err error)

// invoke tries until there is an answer. It returns whether a try before the last one
// may have taken effect whose answer was lost: what an answer may mean differs then.
func (c *caller) invoke(ctx context.Context, kind kind, try try) (repeat bool, err error) {
	t := tries{caller: c, kind: kind, backoff: c.backoffBase}
	for {
		if err := ctx.Err(); err != nil {
			return t.repeat, t.ended(contextError(ctx))
		}
		n, newRound, err := c.nodes.pick(t.spent)
		if err != nil {
			return t.repeat, t.ended(err)
		}
		if newRound {
			t.spent = nil
		}
		leader, sent, err := try(ctx, n, t.repeat)
		if err == nil {
			c.nodes.answered(n, leader)
			return t.repeat, nil
		}
		again, err := t.failed(ctx, n, err, sent)
		if err != nil {
			return t.repeat, err
		}
		if !again {
			t.pause(ctx)
		}
	}
}

// do makes a call that nodes take in an exchange.
func (c *caller) do(ctx context.Context, kind kind, call *transport.Call, told func(sema.Place)) (repeat bool, err error) {
	asked := call.Retry
	ctx, span := c.begin(ctx, call.Method.String())
	if span != nil {
		call.Trace = transport.TraceOf(ctx)
		defer func() { endSpan(span, err) }()
	}
	return c.invoke(ctx, kind, func(ctx context.Context, n *node, repeat bool) (leader string, sent bool, err error) {
		call.Retry = asked || repeat
		if sent = c.ask(ctx, n, kind, call, told); call.Err != nil {
			return "", sent, transport.ErrorFromStatus(call.Err)
		}
		return call.Leader, sent, nil
	})
}

// ask asks one node, in an exchange or, if it has none, in a call of its own.
func (c *caller) ask(ctx context.Context, n *node, kind kind, call *transport.Call, told func(sema.Place)) (sent bool) {
	within := time.Duration(0)
	if kind == waits {
		var done func()
		ctx, done = c.limit(ctx, n, kind)
		defer done()
	} else if n.stream != nil {
		within = c.timeLimit(ctx)
	}
	if n.stream != nil {
		return n.stream.Do(ctx, call, within, told)
	}
	answer := func(ctx context.Context, sc semav1.SemaClient, opts ...grpc.CallOption) error {
		call.Answer = call.Unary(ctx, sc, told, opts...)
		return call.Err
	}
	leader, sent, _ := c.call(ctx, n, kind, answer)
	call.Leader = leader
	return sent
}

// unary is a call that is never part of an exchange.
func unary[Req, Resp any](ctx context.Context, c *caller, kind kind, m *Req,
	rpc func(semav1.SemaClient, context.Context, *Req, ...grpc.CallOption) (*Resp, error)) (resp *Resp, repeat bool, err error) {

	if c.tracer != nil {
		var span trace.Span
		ctx, span = c.begin(ctx, methodOf(m))
		defer func() { endSpan(span, err) }()
	}
	repeat, err = c.invoke(ctx, kind, func(ctx context.Context, n *node, _ bool) (leader string, sent bool, err error) {
		return c.call(ctx, n, kind, func(ctx context.Context, sc semav1.SemaClient, opts ...grpc.CallOption) (err error) {
			resp, err = rpc(sc, ctx, m, opts...)
			return err
		})
	})
	return resp, repeat, err
}

// call is one call over gRPC, or within this process.
func (c *caller) call(ctx context.Context, n *node, kind kind, rpc func(context.Context, semav1.SemaClient, ...grpc.CallOption) error) (leader string, sent bool, err error) {
	ctx, done := c.limit(ctx, n, kind)
	defer done()
	if c.tracer != nil {
		ctx = transport.WithTraceparent(ctx)
	}
	ctx, watched := transport.WatchSent(ctx)
	var header metadata.MD
	var opts []grpc.CallOption
	if kind != waits { // whose stream may still write it when the answer was read
		opts = append(opts, grpc.Header(&header))
	}
	if err := rpc(ctx, n.client, opts...); err != nil {
		return "", watched.Maybe() || n.conn == nil, transport.ErrorFromStatus(err)
	}
	if values := header[transport.LeaderKey]; len(values) > 0 {
		leader = values[0]
	}
	return leader, true, nil
}

// limit bounds a try: in time, by the life of the node if it may last, and by that
// of the client if there is no connection that would break.
func (c *caller) limit(ctx context.Context, n *node, kind kind) (_ context.Context, done func()) {
	if n.conn != nil && kind == waits {
		return n.watch(ctx, c.tryTimeout)
	}
	var cancel context.CancelFunc
	if kind == waits {
		ctx, cancel = context.WithCancel(ctx)
	} else {
		ctx, cancel = context.WithTimeout(ctx, c.timeLimit(ctx))
	}
	if n.conn != nil {
		return ctx, cancel
	}
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// timeLimit is what one try may take of the time that ctx leaves.
func (c *caller) timeLimit(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return c.tryTimeout
	}
	return min(c.tryTimeout, max(minTry, time.Until(deadline)/2))
}

// failed takes in a failed try. It returns the error that ends the call, or
// whether to try again at once.
func (t *tries) failed(ctx context.Context, n *node, err error, sent bool) (atOnce bool, final error) {
	v, effect := judge(err, sent)
	if v == answered {
		return false, err
	}
	t.repeat = t.repeat || effect
	if errors.Is(err, sema.ErrClosed) && t.nodes.local { // there is no other
		v = giveUp
	}
	if v == giveUp {
		if t.kind != reads && t.repeat {
			err = &sema.OutcomeUnknownError{Cause: err}
		}
		return false, err
	}
	t.record(ctx, n.addr, err)
	if t.tracer != nil {
		tellTry(ctx, n, err)
	}
	t.log.Debug("try failed", "endpoint", n.addr, "sent", sent, "error", err)
	if v == askAgain || ctx.Err() != nil { // the node is not to blame
		return false, nil
	}
	t.spent = append(t.spent, n)
	var notLeader *sema.NotLeaderError
	if v != askLeader || !errors.As(err, &notLeader) {
		t.nodes.failed(n, !sent)
		return false, nil
	}
	if !t.nodes.redirected(n, notLeader.Leader.GRPCAddr) || t.hops == maxHops {
		return false, nil
	}
	t.hops++
	return true, nil
}

// record remembers what a node said last. That a context ended is no news of it.
func (t *tries) record(ctx context.Context, addr string, err error) {
	i := slices.IndexFunc(t.asked, func(e EndpointError) bool { return e.Endpoint == addr })
	switch {
	case i < 0:
		t.asked = append(t.asked, EndpointError{Endpoint: addr, Err: err})
	case ctx.Err() == nil:
		t.asked[i].Err = err
	}
}

// pause waits before the next try, for a random time so that clients that failed
// together do not come back together. It ends early with ctx or the client.
func (t *tries) pause(ctx context.Context) {
	timer := time.NewTimer(rand.N(t.backoff + 1))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-t.life.Done():
	}
	t.hops = 0
	t.backoff = min(2*t.backoff, t.backoffMax)
}

// ended is the error of a call that ran out of time, or whose client was closed.
func (t *tries) ended(cause error) error {
	switch {
	case t.kind != reads && t.repeat:
		return &sema.OutcomeUnknownError{Cause: fmt.Errorf("%w; %s", cause, asked(t.asked))}
	case errors.Is(cause, sema.ErrClosed):
		return cause
	}
	return &NoLeaderError{Endpoints: t.asked, Cause: cause}
}

// contextError is why ctx ended, as errors.Is knows it, and its cause if there is
// a better one.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
