package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/leash"
	"github.com/semanode/sema/internal/moment"
	"github.com/semanode/sema/internal/sabotage"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/transport"
)

// LockOptions tune [Client.Lock]. The zero value is ready to use.
type LockOptions struct {
	// Owner says who, for people to read. HOST:PID if empty.
	Owner string
	// Timeout is how soon others may go on after this process died. 30 s if zero.
	Timeout time.Duration
	// Wait bounds the wait in line. Zero: as long as ctx.
	Wait time.Duration
	// WindDown is time set aside within the timeout for what runs under the lock to
	// stop in: Context ends this much before the hold can pass to somebody else. At
	// most half of Timeout. It costs as much of the time in which the cluster may
	// be out of reach without the lock being lost.
	WindDown time.Duration
	// Notify, if set, is told the place in line as it changes, once a second at
	// most, by a goroutine of the call.
	Notify func(sema.Place)
}

// Validate reports every fault of the options, joined.
func (o LockOptions) Validate() error {
	o = o.withDefaults()
	faults := []error{sema.ValidateOwner(o.Owner), sema.ValidateTimeout(o.Timeout)}
	if o.Wait < 0 {
		faults = append(faults, invalidDuration("Wait", o.Wait, "0 (as long as ctx) or more"))
	}
	if o.WindDown < 0 || o.WindDown > o.Timeout/2 {
		faults = append(faults, invalidDuration("WindDown", o.WindDown, fmt.Sprintf("0 to half of Timeout, %v", o.Timeout/2)))
	}
	return errors.Join(faults...)
}

func (o LockOptions) withDefaults() LockOptions {
	if o.Owner == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		o.Owner = fmt.Sprintf("%s:%d", host, os.Getpid())
	}
	if o.Timeout == 0 {
		o.Timeout = sema.DefaultTimeout
	}
	return o
}

// Lock acquires a semaphore and keeps it until Unlock. While somebody else holds
// it, Lock waits in line, first come, first served, until ctx ends or Wait has
// passed; then the place in line is given back, for which Lock takes up to 5 s more
// if the cluster cannot be reached. The Context of the lock ends with ctx too, so to
// bound the wait alone, use Wait.
//
// An error that matches [sema.ErrHeld] means that Wait passed while somebody else
// held; [sema.ErrNoLeader], that the cluster was not to be found;
// [sema.ErrOutcomeUnknown], that a ticket or a hold may have been left behind,
// which the cluster ends by itself.
func (c *Client) Lock(ctx context.Context, name string, opts LockOptions) (*Lock, error) {
	return c.lock(ctx, name, opts, true)
}

// TryLock is Lock that does not wait: held by somebody else is an error that
// matches [sema.ErrHeld]. An overdue hold that is in the way is ended, and does
// not count.
func (c *Client) TryLock(ctx context.Context, name string, opts LockOptions) (*Lock, error) {
	return c.lock(ctx, name, opts, false)
}

func (c *Client) lock(ctx context.Context, name string, opts LockOptions, wait bool) (*Lock, error) {
	opts = opts.withDefaults()
	if err := errors.Join(sema.ValidateName(name), opts.Validate()); err != nil {
		return nil, err
	}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if wait && opts.Wait > 0 {
		waiting, cancel = context.WithTimeout(ctx, opts.Wait)
	}
	defer cancel()
	var last sema.Place
	granted, err := c.session.Obtain(waiting, session.Wanted{
		Name: name, Owner: opts.Owner, Timeout: opts.Timeout, Wait: wait, Positions: opts.Notify != nil,
		Told: func(p sema.Place) {
			if last = p; opts.Notify != nil {
				opts.Notify(p)
			}
		},
	})
	if err != nil {
		queued := last.Position != 0 && ctx.Err() == nil && errors.Is(waiting.Err(), context.DeadlineExceeded)
		if queued && !errors.Is(err, sema.ErrNoLeader) && !errors.Is(err, sema.ErrOutcomeUnknown) {
			return nil, &sema.HeldError{Info: last.Holder, Cause: waiting.Err()}
		}
		return nil, fmt.Errorf("lock %q: %w", name, err)
	}
	l := &Lock{client: c, info: granted.Info, unlocking: make(chan struct{}, 1), touched: granted.Sent}
	l.good = opts.Timeout - sema.DriftMargin(opts.Timeout)
	if sabotage.On(sabotage.NoMargin) {
		l.good = opts.Timeout
	}
	l.leash = leash.NewWatched(ctx, granted.Sent, l.good-opts.WindDown, sema.ErrLost)
	if !c.keeper.add(l) {
		l.leash.Drop()
		return nil, fmt.Errorf("lock %q: it was acquired, and nobody keeps it or can release it: %w", name, &sema.OutcomeUnknownError{Cause: sema.ErrClosed})
	}
	return l, nil
}

// Lock is a hold that is kept alive until it is unlocked or lost. Its methods may
// be called from many goroutines.
type Lock struct {
	client *Client
	leash  *leash.Leash
	good   time.Duration // for which the hold stands, from the leash's moment on

	// What the client's keeper, alone, writes; info is guarded by its mu.
	info    sema.Info
	touched moment.Moment

	unlocking chan struct{} // holds one token: who may look at what follows
	unlocked  bool
	result    error // of Unlock, once unlocked
	unsure    bool  // a release was sent and its answer was lost
}

// Name returns the semaphore's name.
func (l *Lock) Name() string { return l.info.Name }

// Token returns the fencing token. It belongs in every write that is made under
// the lock, so that the resource can refuse those that come too late.
func (l *Lock) Token() uint64 { return l.info.Token }

// Info describes the hold as of its last touch.
func (l *Lock) Info() sema.Info {
	l.client.keeper.mu.Lock()
	defer l.client.keeper.mu.Unlock()
	return l.info
}

// Context ends with cause [sema.ErrLost] when the hold is gone, when it can no
// longer be known to stand, or WindDown before that; with Unlock; and with the ctx
// given to Lock, which does not release the hold: Unlock does.
//
// Whoever asks it for Err or Done is told the truth as of that moment, also in a
// process that was stopped and has just gone on.
func (l *Lock) Context() context.Context { return l.leash.Context() }

// Deadline is the moment, with a monotonic reading, up to which nobody else can
// hold, as far as is known by now: each touch moves it. It does not see into
// suspensions of the machine that are yet to come; Context does.
func (l *Lock) Deadline() time.Time { return time.Now().Add(l.leash.Sent().Until(l.good)) }

// Unlock releases the hold and ends Context. It is idempotent: once the hold is
// gone every call returns the same. An error that matches [sema.ErrLost] says
// that it was gone before; any other means that the hold may stand until its
// timeout, and that Unlock may be called again. It takes no longer than the hold's
// timeout: by then the hold is gone by itself.
func (l *Lock) Unlock(ctx context.Context) error {
	l.client.keeper.remove(l) // whatever comes: it is not kept any longer
	l.leash.Drop()
	select {
	case l.unlocking <- struct{}{}:
		defer func() { <-l.unlocking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if l.unlocked {
		return l.result
	}
	ctx, cancel := context.WithTimeout(ctx, l.info.Timeout)
	defer cancel()
	released, err := l.client.caller.Release(ctx, transport.ReleaseRequest{Name: l.Name(), Token: l.Token()})
	switch {
	case err == nil && released:
	case err == nil, errors.Is(err, sema.ErrNotHeld):
		if !l.unsure {
			l.result = fmt.Errorf("%w: %q, token %d, was not held any more when it was unlocked", sema.ErrLost, l.Name(), l.Token())
		}
	default:
		l.unsure = l.unsure || errors.Is(err, sema.ErrOutcomeUnknown)
		return fmt.Errorf("unlock %q: %w", l.Name(), err)
	}
	l.unlocked = true
	return l.result
}
