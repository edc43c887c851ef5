package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
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
	life        context.Context // ends with Client.Close
}

// remote is a method of the generated client, such as semav1.SemaClient.Acquire.
type remote[Req, Resp any] func(semav1.SemaClient, context.Context, *Req, ...grpc.CallOption) (*Resp, error)

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

// invoke tries until there is an answer. message makes the request; repeat is
// true once a try may have taken effect whose answer was lost, and is returned
// too, for what an answer may mean differs then.
func invoke[Req, Resp any](ctx context.Context, c *caller, rpc remote[Req, Resp], kind kind,
	message func(repeat bool) *Req) (resp *Resp, repeat bool, err error) {

	t := tries{caller: c, kind: kind, backoff: c.backoffBase}
	for {
		if err := ctx.Err(); err != nil {
			return nil, t.repeat, t.ended(contextError(ctx))
		}
		n, newRound, err := c.nodes.pick(t.spent)
		if err != nil {
			return nil, t.repeat, t.ended(err)
		}
		if newRound {
			t.spent = nil
		}
		resp, sent, err := try(ctx, c, n, rpc, kind, message(t.repeat))
		if err == nil {
			return resp, t.repeat, nil
		}
		again, err := t.failed(ctx, n, err, sent)
		if err != nil {
			return nil, t.repeat, err
		}
		if !again {
			t.pause(ctx)
		}
	}
}

// try asks one node, once.
func try[Req, Resp any](ctx context.Context, c *caller, n *node, rpc remote[Req, Resp], kind kind, m *Req) (*Resp, bool, error) {
	ctx, done := c.limit(ctx, n, kind)
	defer done()
	ctx, sent := transport.WatchSent(ctx)
	var header metadata.MD
	var opts []grpc.CallOption
	if kind != waits { // whose stream may still write it when the answer was read
		opts = append(opts, grpc.Header(&header))
	}
	resp, err := rpc(n.client, ctx, m, opts...)
	if err != nil {
		return nil, sent.Maybe() || n.conn == nil, transport.ErrorFromStatus(err)
	}
	leader := ""
	if values := header[transport.LeaderKey]; len(values) > 0 {
		leader = values[0]
	}
	c.nodes.answered(n, leader)
	return resp, true, nil
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
