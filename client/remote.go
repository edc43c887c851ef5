package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// caller is the cluster as a Backend: what a node does here, done there.
var _ transport.Backend = (*caller)(nil)

func (c *caller) Acquire(ctx context.Context, req transport.AcquireRequest) (sema.Info, error) {
	call := &transport.Call{Method: transport.MethodAcquire, Name: req.Name, Owner: req.Owner, Timeout: req.Timeout, Attempt: req.Attempt, Retry: req.Retry}
	_, err := c.do(ctx, writes, call, nil)
	return call.Info, err
}

func (c *caller) Touch(ctx context.Context, req transport.TouchRequest) (sema.Info, error) {
	call := &transport.Call{Method: transport.MethodTouch, Name: req.Name, Token: req.Token, Attempt: req.Attempt}
	_, err := c.do(ctx, writes, call, nil)
	return call.Info, err
}

// Wait goes on elsewhere, with the same attempt, whenever the node that it waits
// at fails; so it keeps its place. It ends with an answer or with ctx.
func (c *caller) Wait(ctx context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	if told == nil {
		told = func(sema.Place) {}
	}
	call := &transport.Call{Method: transport.MethodWait, Name: req.Name, Owner: req.Owner, Timeout: req.Timeout, Attempt: req.Attempt, Retry: req.Retry, Positions: req.Positions}
	_, err := c.do(ctx, waits, call, told)
	return call.Info, err
}

// TouchAll implements [transport.Backend].
func (c *caller) TouchAll(ctx context.Context, req transport.TouchAllRequest) ([]transport.TouchOutcome, error) {
	resp, _, err := unary(ctx, c, writes, transport.TouchAllToWire(req), semav1.SemaClient.TouchAll)
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
	call := &transport.Call{Method: transport.MethodRelease, Name: req.Name, Token: req.Token, Attempt: req.Attempt}
	repeat, err := c.do(ctx, writes, call, nil)
	if repeat && req.Token != 0 && (err == nil || errors.Is(err, sema.ErrNotHeld)) {
		return true, nil
	}
	return call.Released, err
}

// ForceRelease is a Release in that regard. The hold that was ended is then known
// by its name and token only.
func (c *caller) ForceRelease(ctx context.Context, req transport.ForceReleaseRequest) (sema.Info, error) {
	resp, repeat, err := unary(ctx, c, writes, &semav1.ForceReleaseRequest{Name: req.Name, Token: req.Token}, semav1.SemaClient.ForceRelease)
	if repeat && (errors.Is(err, sema.ErrNotHeld) || errors.Is(err, sema.ErrNotFound)) {
		return sema.Info{Status: sema.ForcedReleased, Name: req.Name, Token: req.Token}, nil
	}
	return transport.InfoFromWire(resp.GetInfo()), err
}

func (c *caller) Get(ctx context.Context, req transport.GetRequest) (transport.GetResult, error) {
	call := &transport.Call{Method: transport.MethodGet, Name: req.Name, Stale: req.Stale, Line: req.Line}
	_, err := c.do(ctx, reads, call, nil)
	return transport.GetResult{Info: call.Info, Line: call.Tickets}, err
}

func (c *caller) List(ctx context.Context, req transport.ListRequest) (transport.ListResult, error) {
	m := &semav1.ListRequest{Prefix: req.Prefix, PageToken: req.After, PageSize: uint32(req.Limit), Stale: req.Stale, Line: uint32(req.Line)}
	resp, _, err := unary(ctx, c, reads, m, semav1.SemaClient.List)
	return transport.ListResult{Infos: transport.InfosFromWire(resp.GetInfos()), Next: resp.GetNextPageToken(), Lines: transport.LinesFromWire(resp.GetLines())}, err
}

func (c *caller) Status(ctx context.Context, req transport.StatusRequest) (transport.ClusterStatus, error) {
	resp, _, err := unary(ctx, c, reads, &semav1.StatusRequest{NodeOnly: req.NodeOnly}, semav1.SemaClient.Status)
	return transport.StatusFromWire(resp), err
}
