package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// Client is a [sema.Service] over the network, with what administrators need
// besides.
type Client struct {
	caller  *caller
	session *session.Session
	keeper  *keeper
	shut    func() error // once
}

var (
	_ sema.Waiter = (*Client)(nil)
	_ sema.Forker = (*Client)(nil)
)

// New returns a Client of the cluster that cfg describes. It does not wait for a
// connection: that no node can be reached shows when the first call is made.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	nodes, err := newNodes(cfg)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return newClient(cfg, nodes), nil
}

// NewLocal returns a Client of the node that runs in this process and serves svc:
// what [transport.NewLocal] returns. It needs no connection to it.
func NewLocal(svc semav1.SemaClient, logger hclog.Logger) *Client {
	cfg := Config{Logger: logger}.withDefaults()
	return newClient(cfg, localNodes(svc))
}

func newClient(cfg Config, nodes *nodes) *Client {
	life, end := context.WithCancel(context.Background())
	c := &caller{nodes: nodes, tryTimeout: cfg.TryTimeout, backoffBase: cfg.BackoffBase, backoffMax: cfg.BackoffMax, log: cfg.Logger, life: life}
	if cfg.TracerProvider != nil {
		c.tracer = cfg.TracerProvider.Tracer(transport.TracerName)
	}
	s := session.New(c, session.NewClientID())
	keeper := newKeeper(s, c.TouchAll)
	return &Client{
		caller:  c,
		session: s,
		keeper:  keeper,
		shut: sync.OnceValue(func() error {
			err := c.nodes.close()
			end()
			keeper.close()
			return err
		}),
	}
}

// Close closes all connections. Calls under way end with [sema.ErrClosed], or
// with [sema.ErrOutcomeUnknown] if they may have taken effect. Holds stand until
// their timeout, and the contexts of locks end in time for that. It is idempotent.
func (c *Client) Close() error { return c.shut() }

// Acquire implements [sema.Service].
func (c *Client) Acquire(ctx context.Context, name, owner string, timeout time.Duration) (sema.Info, error) {
	return c.session.Acquire(ctx, name, owner, timeout)
}

// AcquireWait implements [sema.Waiter]. [Client.Lock] does more: it keeps what it
// acquired.
func (c *Client) AcquireWait(ctx context.Context, name, owner string, timeout time.Duration, told func(sema.Place)) (sema.Info, error) {
	return c.session.AcquireWait(ctx, name, owner, timeout, told)
}

// Touch implements [sema.Service]. Without a hold under this name it returns
// [sema.ErrNotHeld] without asking anybody.
func (c *Client) Touch(ctx context.Context, name string) (sema.Info, error) {
	return c.session.Touch(ctx, name)
}

// Release implements [sema.Service]. It ends all that this Client has, or may
// have, under the name. A release that has to be repeated because its answer was
// lost, by the Client or its caller, and then finds that the hold is gone,
// succeeded.
func (c *Client) Release(ctx context.Context, name string) error {
	return c.session.Release(ctx, name)
}

// Get implements [sema.Service].
func (c *Client) Get(ctx context.Context, name string) (sema.Info, error) {
	return c.session.Get(ctx, name)
}

// Fork implements [sema.Forker]. The value shares this Client's connections and
// ends with it.
func (c *Client) Fork() sema.Service { return c.session.Fork() }

// GetStale is Get from the memory of the node that is asked: it needs no leader
// and may be behind.
func (c *Client) GetStale(ctx context.Context, name string) (sema.Info, error) {
	return c.session.GetStale(ctx, name)
}

// Line is Get, or GetStale, with the first of those who wait in line.
func (c *Client) Line(ctx context.Context, req transport.GetRequest) (transport.GetResult, error) {
	if err := req.Validate(); err != nil {
		return transport.GetResult{}, err
	}
	got, err := c.caller.Get(ctx, req)
	if err != nil {
		return transport.GetResult{}, err
	}
	c.session.Label(&got.Info)
	return got, nil
}

// TouchToken touches the hold with this token, whoever acquired it. It is for
// holds that another process acquired and handed over.
func (c *Client) TouchToken(ctx context.Context, name string, token uint64) (sema.Info, error) {
	req := transport.TouchRequest{Name: name, Token: token}
	if err := validateToken(req, token); err != nil {
		return sema.Info{}, err
	}
	return c.caller.Touch(ctx, req)
}

// ReleaseToken frees the hold with this token, whoever acquired it. It reports
// whether it did; false and no error means that the semaphore was free already.
// Held under another token is [sema.ErrNotHeld].
func (c *Client) ReleaseToken(ctx context.Context, name string, token uint64) (released bool, err error) {
	req := transport.ReleaseRequest{Name: name, Token: token}
	if err := validateToken(req, token); err != nil {
		return false, err
	}
	return c.caller.Release(ctx, req)
}

// ForceRelease ends the hold with this token and returns it. It is for
// administrators: the holder is told by its next touch only, and may still be
// at work. It returns [sema.ErrNotFound] if nobody holds the semaphore and
// [sema.ErrNotHeld] if it is held under another token. If the answer to a try
// was lost that ended the hold, the Info has its name and token only.
func (c *Client) ForceRelease(ctx context.Context, name string, token uint64) (sema.Info, error) {
	req := transport.ForceReleaseRequest{Name: name, Token: token}
	if err := req.Validate(); err != nil {
		return sema.Info{}, err
	}
	return c.caller.ForceRelease(ctx, req)
}

// List returns one page of the holds whose names start with a prefix.
func (c *Client) List(ctx context.Context, req transport.ListRequest) (transport.ListResult, error) {
	if err := req.Validate(); err != nil {
		return transport.ListResult{}, err
	}
	page, err := c.caller.List(ctx, req)
	for i := range page.Infos {
		c.session.Label(&page.Infos[i])
	}
	return page, err
}

// Status tells how the cluster is, as seen by any node that lives. It needs no
// leader.
func (c *Client) Status(ctx context.Context) (transport.ClusterStatus, error) {
	return c.caller.Status(ctx, transport.StatusRequest{})
}

// validateToken checks a request that must name its hold.
func validateToken(req interface{ Validate() error }, token uint64) error {
	if err := req.Validate(); err != nil || token != 0 {
		return err
	}
	return &sema.InvalidError{Field: "token", Value: "0", Limit: "the token of the hold, as acquire tells it"}
}
