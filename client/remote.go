package client

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// caller is the cluster as a Backend: what a node does here, done there.
var _ transport.Backend = (*caller)(nil)

func (c *caller) Acquire(ctx context.Context, req transport.AcquireRequest) (sema.Info, error) {
	resp, _, err := invoke(ctx, c, semav1.SemaClient.Acquire, writes, func(repeat bool) *semav1.AcquireRequest {
		return &semav1.AcquireRequest{Name: req.Name, Owner: req.Owner, Timeout: durationpb.New(req.Timeout),
			Attempt: transport.AttemptToWire(req.Attempt, req.Retry || repeat)}
	})
	return transport.InfoFromWire(resp.GetInfo()), err
}

func (c *caller) Touch(ctx context.Context, req transport.TouchRequest) (sema.Info, error) {
	resp, _, err := invoke(ctx, c, semav1.SemaClient.Touch, writes, func(bool) *semav1.TouchRequest {
		return &semav1.TouchRequest{Name: req.Name, Token: req.Token, Attempt: transport.AttemptToWire(req.Attempt, false)}
	})
	return transport.InfoFromWire(resp.GetInfo()), err
}

// Wait goes on elsewhere, with the same attempt, whenever the node that it waits
// at fails; so it keeps its place. It ends with an answer or with ctx.
func (c *caller) Wait(ctx context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	wait := func(sc semav1.SemaClient, ctx context.Context, m *semav1.WaitRequest, opts ...grpc.CallOption) (*semav1.WaitResponse, error) {
		return transport.ReceiveWait(sc, ctx, m, func(resp *semav1.WaitResponse) error {
			if told != nil {
				told(sema.Place{Position: int(resp.GetPosition()), Holder: transport.InfoFromWire(resp.GetHolder())})
			}
			return nil
		}, opts...)
	}
	resp, _, err := invoke(ctx, c, wait, waits, func(repeat bool) *semav1.WaitRequest {
		return &semav1.WaitRequest{Name: req.Name, Owner: req.Owner, Timeout: durationpb.New(req.Timeout),
			Attempt: transport.AttemptToWire(req.Attempt, req.Retry || repeat), Positions: req.Positions}
	})
	return transport.InfoFromWire(resp.GetInfo()), err
}

// TouchAll implements [transport.Backend].
func (c *caller) TouchAll(ctx context.Context, req transport.TouchAllRequest) ([]transport.TouchOutcome, error) {
	resp, _, err := invoke(ctx, c, semav1.SemaClient.TouchAll, writes, func(bool) *semav1.TouchAllRequest { return transport.TouchAllToWire(req) })
	if err != nil {
		return nil, err
	}
	if got, want := len(resp.GetOutcomes()), len(req.Holds); got != want {
		return nil, fmt.Errorf("%d answers to %d touches: %w", got, want, sema.ErrOutcomeUnknown)
	}
	return transport.OutcomesFromWire(resp), nil
}

// Release counts "not held" and "free already" as released if an earlier try may
// have been carried out: the hold is gone, and most likely by that try.
func (c *caller) Release(ctx context.Context, req transport.ReleaseRequest) (released bool, err error) {
	resp, repeat, err := invoke(ctx, c, semav1.SemaClient.Release, writes, func(bool) *semav1.ReleaseRequest {
		return &semav1.ReleaseRequest{Name: req.Name, Token: req.Token, Attempt: transport.AttemptToWire(req.Attempt, false)}
	})
	if repeat && req.Token != 0 && (err == nil || errors.Is(err, sema.ErrNotHeld)) {
		return true, nil
	}
	return resp.GetReleased(), err
}

// ForceRelease is a Release in that regard. The hold that was ended is then known
// by its name and token only.
func (c *caller) ForceRelease(ctx context.Context, req transport.ForceReleaseRequest) (sema.Info, error) {
	resp, repeat, err := invoke(ctx, c, semav1.SemaClient.ForceRelease, writes, func(bool) *semav1.ForceReleaseRequest {
		return &semav1.ForceReleaseRequest{Name: req.Name, Token: req.Token}
	})
	if repeat && (errors.Is(err, sema.ErrNotHeld) || errors.Is(err, sema.ErrNotFound)) {
		return sema.Info{Status: sema.ForcedReleased, Name: req.Name, Token: req.Token}, nil
	}
	return transport.InfoFromWire(resp.GetInfo()), err
}

func (c *caller) Get(ctx context.Context, req transport.GetRequest) (transport.GetResult, error) {
	resp, _, err := invoke(ctx, c, semav1.SemaClient.Get, reads, func(bool) *semav1.GetRequest {
		return &semav1.GetRequest{Name: req.Name, Stale: req.Stale, Line: uint32(req.Line)}
	})
	return transport.GetResult{Info: transport.InfoFromWire(resp.GetInfo()), Line: transport.LineFromWire(resp.GetLine())}, err
}

func (c *caller) List(ctx context.Context, req transport.ListRequest) (transport.ListResult, error) {
	resp, _, err := invoke(ctx, c, semav1.SemaClient.List, reads, func(bool) *semav1.ListRequest {
		return &semav1.ListRequest{Prefix: req.Prefix, PageToken: req.After, PageSize: uint32(req.Limit), Stale: req.Stale, Line: uint32(req.Line)}
	})
	return transport.ListResult{Infos: transport.InfosFromWire(resp.GetInfos()), Next: resp.GetNextPageToken(), Lines: transport.LinesFromWire(resp.GetLines())}, err
}

func (c *caller) Status(ctx context.Context, req transport.StatusRequest) (transport.ClusterStatus, error) {
	resp, _, err := invoke(ctx, c, semav1.SemaClient.Status, reads, func(bool) *semav1.StatusRequest {
		return &semav1.StatusRequest{NodeOnly: req.NodeOnly}
	})
	return transport.StatusFromWire(resp), err
}
