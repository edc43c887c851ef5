package testcluster_test

import (
	"context"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
)

// aging is a node in memory whose holds can be overdue.
type aging struct {
	*fakenode.Node
	early time.Duration // by which those who wait are served before the deadline: a flaw
}

func (n aging) Acquire(ctx context.Context, req transport.AcquireRequest) (sema.Info, error) {
	if ctx.Err() != nil {
		return sema.Info{}, ctx.Err()
	}
	if h := n.Holder(req.Name); h.Token != 0 && !time.Now().Before(h.ExpiresAt) {
		n.End(req.Name)
		h.Status = sema.ForcedReleased
		return h, nil
	}
	return n.Node.Acquire(ctx, req)
}

func (n aging) Touch(ctx context.Context, req transport.TouchRequest) (sema.Info, error) {
	if ctx.Err() != nil {
		return sema.Info{}, ctx.Err()
	}
	return n.Node.Touch(ctx, req)
}

func (n aging) Release(ctx context.Context, req transport.ReleaseRequest) (bool, error) {
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return n.Node.Release(ctx, req)
}

func (n aging) Get(ctx context.Context, req transport.GetRequest) (transport.GetResult, error) {
	if ctx.Err() != nil {
		return transport.GetResult{}, ctx.Err()
	}
	return n.Node.Get(ctx, req)
}

func (n aging) Wait(ctx context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	if ctx.Err() != nil {
		return sema.Info{}, ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() { // ends overdue holds while somebody waits
		defer close(done)
		for {
			h := n.Holder(req.Name)
			select {
			case <-time.After(max(time.Until(h.ExpiresAt)-n.early, time.Millisecond)):
			case <-ctx.Done():
				return
			}
			if now := n.Holder(req.Name); now.Token == h.Token && now.ExpiresAt.Equal(h.ExpiresAt) && h.Token != 0 {
				n.End(req.Name)
			}
		}
	}()
	return n.Node.Wait(ctx, req, told)
}
