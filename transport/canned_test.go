package transport_test

import (
	"context"
	"sync"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// canned is a backend that gives the same rich answers to everything, or the same
// error, and remembers what it was asked.
type canned struct {
	mu    sync.Mutex
	err   error
	asked []any
}

var (
	cannedTime = time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.UTC)
	cannedInfo = sema.Info{Status: sema.Acquired, Name: "a", Owner: "me", Timeout: 30 * time.Second, Token: 1<<63 + 1,
		ExpiresAt: cannedTime, CreatedAt: cannedTime.Add(-time.Hour), UpdatedAt: cannedTime.Add(-time.Minute), Waiting: 3}
	cannedLine = []sema.Ticket{{Position: 1, Owner: "first", Since: cannedTime}, {Position: 2, Owner: "second", Since: cannedTime.Add(time.Second)}}
	cannedPage = transport.ListResult{Infos: []sema.Info{cannedInfo, {Name: "b", Token: 7}}, Next: "b",
		Lines: map[string][]sema.Ticket{"b": cannedLine[:1], "a": cannedLine}}
	cannedTouches = []transport.TouchOutcome{{ExpiresAt: cannedTime}, {Err: sema.ErrNotHeld}}
	cannedStatus  = transport.ClusterStatus{ClusterID: "c", Nodes: []transport.NodeStatus{{ID: "n1", State: "leader", Leader: true, Term: 3}}}
)

// take notes a request and returns what there is to answer beside the answer.
func (c *canned) take(req any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, req)
	return c.err
}

// fail makes every answer an error from now on.
func (c *canned) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// requests returns what was asked since the last time.
func (c *canned) requests() []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = nil
	return asked
}

func (c *canned) Acquire(_ context.Context, req transport.AcquireRequest) (sema.Info, error) {
	return cannedInfo, c.take(req)
}

// Wait tells two places on the way.
func (c *canned) Wait(_ context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error) {
	err := c.take(req)
	told(sema.Place{Position: 2, Holder: cannedInfo})
	told(sema.Place{Position: 1, Holder: cannedInfo})
	return cannedInfo, err
}

func (c *canned) Touch(_ context.Context, req transport.TouchRequest) (sema.Info, error) {
	return cannedInfo, c.take(req)
}

func (c *canned) TouchAll(_ context.Context, req transport.TouchAllRequest) ([]transport.TouchOutcome, error) {
	return cannedTouches, c.take(req)
}

func (c *canned) Release(_ context.Context, req transport.ReleaseRequest) (bool, error) {
	return true, c.take(req)
}

func (c *canned) ForceRelease(_ context.Context, req transport.ForceReleaseRequest) (sema.Info, error) {
	return cannedInfo, c.take(req)
}

func (c *canned) Get(_ context.Context, req transport.GetRequest) (transport.GetResult, error) {
	return transport.GetResult{Info: cannedInfo, Line: cannedLine}, c.take(req)
}

func (c *canned) List(_ context.Context, req transport.ListRequest) (transport.ListResult, error) {
	return cannedPage, c.take(req)
}

func (c *canned) Status(_ context.Context, req transport.StatusRequest) (transport.ClusterStatus, error) {
	return cannedStatus, c.take(req)
}

func (c *canned) Join(_ context.Context, req transport.JoinRequest) (uint64, error) {
	return 17, c.take(req)
}

func (c *canned) Member(_ context.Context, id string) (string, error) { return id + "@1", c.take(id) }

func (c *canned) Remove(_ context.Context, req transport.RemoveRequest) error { return c.take(req) }

func (c *canned) TransferLeadership(_ context.Context, id string) (string, error) {
	return id, c.take(id)
}
