package transport

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// The metadata keys of the protocol, see the package documentation.
const (
	ForwardedKey = "sema-forwarded"
	LeaderKey    = "sema-leader"
	NodeKey      = "sema-node"
)

// handler is the gRPC service over a Backend.
type handler struct {
	semav1.UnimplementedSemaServer
	nodeID  string
	backend Backend
	peers   *Peers  // nil: never passes on
	leaders Leaders // nil: never waits
	calls   *Calls  // for exchanges; nil: not counted
	tracing tracing
	// stopping ends when the server stops: nothing waits for a leader any more.
	stopping  context.Context
	fromNodes bool // callers are nodes
	// fromClients is whether callers are clients, who cannot take nodes in.
	fromClients bool
	// inProcess is the handler for callers in this process.
	inProcess *Local
}

func newHandler(cfg ServerConfig, stopping context.Context) *handler {
	h := &handler{nodeID: cfg.NodeID, backend: cfg.Backend, peers: cfg.Peers, leaders: cfg.Leaders, stopping: stopping, fromNodes: cfg.FromNodes, fromClients: cfg.FromClients, calls: cfg.Calls, tracing: tracing{cfg.Tracer}}
	h.inProcess = &Local{handler: h}
	return h
}

func (h *handler) Acquire(ctx context.Context, m *semav1.AcquireRequest) (*semav1.AcquireResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.Acquire, func() (*semav1.AcquireResponse, error) {
		attempt, err := attemptFromWire(m.GetAttempt())
		if err != nil {
			return nil, err
		}
		req := AcquireRequest{Name: m.GetName(), Owner: m.GetOwner(), Timeout: m.GetTimeout().AsDuration(), Attempt: attempt, Retry: m.GetAttempt().GetRetry(), Account: h.account(ctx)}
		if err := req.Validate(); err != nil {
			return nil, err
		}
		info, err := h.backend.Acquire(ctx, req)
		return &semav1.AcquireResponse{Info: InfoToWire(info)}, err
	})
}

func (h *handler) Touch(ctx context.Context, m *semav1.TouchRequest) (*semav1.TouchResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.Touch, func() (*semav1.TouchResponse, error) {
		attempt, err := attemptFromWire(m.GetAttempt())
		if err != nil {
			return nil, err
		}
		req := TouchRequest{Name: m.GetName(), Token: m.GetToken(), Attempt: attempt, Account: h.account(ctx)}
		if err := req.Validate(); err != nil {
			return nil, err
		}
		info, err := h.backend.Touch(ctx, req)
		return &semav1.TouchResponse{Info: InfoToWire(info)}, err
	})
}

func (h *handler) TouchAll(ctx context.Context, m *semav1.TouchAllRequest) (*semav1.TouchAllResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.TouchAll, func() (*semav1.TouchAllResponse, error) {
		req, err := touchAllFromWire(m)
		if err != nil {
			return nil, err
		}
		req.Account = h.account(ctx)
		if err := req.Validate(); err != nil {
			return nil, err
		}
		outcomes, err := h.backend.TouchAll(ctx, req)
		return outcomesToWire(outcomes), err
	})
}

func (h *handler) Release(ctx context.Context, m *semav1.ReleaseRequest) (*semav1.ReleaseResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.Release, func() (*semav1.ReleaseResponse, error) {
		attempt, err := attemptFromWire(m.GetAttempt())
		if err != nil {
			return nil, err
		}
		req := ReleaseRequest{Name: m.GetName(), Token: m.GetToken(), Attempt: attempt, Account: h.account(ctx)}
		if err := req.Validate(); err != nil {
			return nil, err
		}
		released, err := h.backend.Release(ctx, req)
		return &semav1.ReleaseResponse{Released: released}, err
	})
}

func (h *handler) ForceRelease(ctx context.Context, m *semav1.ForceReleaseRequest) (*semav1.ForceReleaseResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.ForceRelease, func() (*semav1.ForceReleaseResponse, error) {
		req := ForceReleaseRequest{Name: m.GetName(), Token: m.GetToken()}
		if err := req.Validate(); err != nil {
			return nil, err
		}
		info, err := h.backend.ForceRelease(ctx, req)
		return &semav1.ForceReleaseResponse{Info: InfoToWire(info)}, err
	})
}

func (h *handler) Get(ctx context.Context, m *semav1.GetRequest) (*semav1.GetResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.Get, func() (*semav1.GetResponse, error) {
		req := GetRequest{Name: m.GetName(), Stale: m.GetStale(), Line: int(m.GetLine())}
		if err := req.Validate(); err != nil {
			return nil, err
		}
		got, err := h.backend.Get(ctx, req)
		return &semav1.GetResponse{Info: InfoToWire(got.Info), Line: lineToWire(got.Line)}, err
	})
}

func (h *handler) List(ctx context.Context, m *semav1.ListRequest) (*semav1.ListResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.List, func() (*semav1.ListResponse, error) {
		req := ListRequest{Prefix: m.GetPrefix(), After: m.GetPageToken(), Limit: int(m.GetPageSize()), Stale: m.GetStale(), Line: int(m.GetLine()), Within: m.GetWithin()}
		if err := req.Validate(); err != nil {
			return nil, err
		}
		page, err := h.backend.List(ctx, req)
		return &semav1.ListResponse{Infos: infosToWire(page.Infos), NextPageToken: page.Next, Lines: linesToWire(page.Lines)}, err
	})
}

func (h *handler) Status(ctx context.Context, m *semav1.StatusRequest) (*semav1.StatusResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.Status, func() (*semav1.StatusResponse, error) {
		st, err := h.backend.Status(ctx, StatusRequest{NodeOnly: m.GetNodeOnly()})
		return StatusToWire(st), err
	})
}

// remote is a method of a generated client, such as semav1.SemaClient.Acquire.
type remote[Req, Resp any] func(semav1.SemaClient, context.Context, *Req, ...grpc.CallOption) (*Resp, error)

// serve answers locally or, if this node does not lead, by the one that does.
func serve[Req, Resp any](ctx context.Context, h *handler, m *Req, call remote[Req, Resp], local func() (*Resp, error)) (*Resp, error) {
	resp, err := local()
	if notLeader, ok := isNotLeader(err); ok {
		return serveElsewhere(ctx, h, notLeader, m, call, local)
	}
	return answer(ctx, h, resp, err)
}

// serveElsewhere passes a call on to the leader. A call that finds no leader, or
// one that cannot be reached, waits for the next one: so it is served the moment
// there is one, and a thousand clients need not ask again and again during an
// election.
func serveElsewhere[Req, Resp any](ctx context.Context, h *handler, notLeader *sema.NotLeaderError, m *Req,
	call remote[Req, Resp], local func() (*Resp, error)) (*Resp, error) {

	deadline := time.Now().Add(patience(ctx))
	var failed sema.Leader // who was asked in vain
	for {
		leader, known := h.nextLeader(ctx, deadline, notLeader, failed)
		if !known || leader.ID != h.nodeID && (h.peers == nil || wasForwarded(ctx)) {
			return nil, ErrorToStatus(notLeader)
		}
		failed = leader
		if leader.ID == h.nodeID {
			resp, err := local()
			if again, ok := isNotLeader(err); ok {
				notLeader = again
				continue
			}
			return answer(ctx, h, resp, err)
		}
		resp, again, err := forward(ctx, h, leader, m, call)
		if again == nil {
			return resp, err
		}
		notLeader = again
	}
}

// answer sends what this node's own backend said.
func answer[Resp any](ctx context.Context, h *handler, resp *Resp, err error) (*Resp, error) {
	if err != nil {
		return nil, ErrorToStatus(err)
	}
	// Metadata is a courtesy: a header that cannot be sent costs a hint, not the answer.
	_ = grpc.SetHeader(ctx, metadata.Pairs(NodeKey, h.nodeID))
	return resp, nil
}

// isNotLeader is about calls that changed nothing. A leader that was deposed in
// the middle does not know the outcome, though it may know who leads now: to pass
// such a call on could be a second effect.
func isNotLeader(err error) (notLeader *sema.NotLeaderError, ok bool) {
	ok = errors.As(err, &notLeader) && !errors.Is(err, sema.ErrOutcomeUnknown)
	return notLeader, ok
}

// nextLeader is who to ask: the leader that the answer names or, if it names none
// or one was asked in vain, the next that is known before the deadline.
func (h *handler) nextLeader(ctx context.Context, deadline time.Time, answer *sema.NotLeaderError, failed sema.Leader) (leader sema.Leader, known bool) {
	if answer.Leader.RaftAddr != "" && failed.ID == "" {
		return answer.Leader, true
	}
	if h.leaders == nil {
		return sema.Leader{}, false
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer context.AfterFunc(h.stopping, cancel)()
	leader, err := h.leaders.AwaitLeader(ctx, failed)
	return leader, err == nil
}

// leaderPatience is how long a call may wait for a leader: several elections.
const leaderPatience = 3 * time.Second

// patience leaves a quarter of the call's own time for the answer that there is
// no leader. A caller whose time runs out first cannot know that nothing happened.
func patience(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return leaderPatience
	}
	return min(leaderPatience, time.Until(deadline)*3/4)
}

func wasForwarded(ctx context.Context) bool {
	return len(metadata.ValueFromIncomingContext(ctx, ForwardedKey)) > 0
}

// forward makes the one hop. The deadline travels in ctx. An answer of the
// leader, good or bad, is passed back as it is, and a hop that broke is "outcome
// unknown". If who was asked does not lead, or nothing was sent, then again says
// so and the call may go elsewhere.
func forward[Req, Resp any](ctx context.Context, h *handler, leader sema.Leader, m *Req,
	call remote[Req, Resp]) (resp *Resp, again *sema.NotLeaderError, err error) {

	peer, err := h.peers.Client(leader.RaftAddr)
	if err != nil {
		return nil, nil, ErrorToStatus(err)
	}
	ctx, hop := h.tracing.hop(ctx, leader)
	if hop != nil {
		defer func() { EndSpan(hop, err) }()
	}
	out, sent := WatchSent(h.withAccount(metadata.AppendToOutgoingContext(ctx, ForwardedKey, h.nodeID), ctx))
	resp, err = call(peer, withAskedLeader(out, leader), m)
	if err == nil {
		_ = grpc.SetHeader(ctx, metadata.Pairs(NodeKey, leader.ID, LeaderKey, leader.GRPCAddr))
		return resp, nil, nil
	}
	if again, ok := isNotLeader(ErrorFromStatus(err)); ok {
		return nil, again, nil
	}
	st, ok := status.FromError(err)
	switch {
	case ctx.Err() != nil && h.stopping.Err() == nil, ok && len(st.Details()) > 0, status.Code(err) == codes.DeadlineExceeded:
		// The leader has the call's own deadline, which may pass there a moment earlier than here.
		return nil, nil, err
	case !sent.Maybe(): // the caller may reach it, though this node cannot
		return nil, &sema.NotLeaderError{Leader: leader}, nil
	}
	return nil, nil, ErrorToStatus(&sema.OutcomeUnknownError{Cause: err})
}
