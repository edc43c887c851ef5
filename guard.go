package sema

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// DriftMargin is how much earlier than the timeout a holder must consider its
// hold lost: one part in a hundred, for two clocks that run at different rates
// (NTP slews by at most 0.05 %, bad quartz is off by 0.02 %), and 10 ms for a
// goroutine that is scheduled late.
func DriftMargin(timeout time.Duration) time.Duration {
	return timeout/100 + 10*time.Millisecond
}

// holdGuard keeps one hold alive and cancels ctx with cause ErrLost when it is
// gone, or at the local deadline: the moment before the last successful request
// was sent, plus the timeout, less the margin. The cluster counts from a later
// moment, so nobody else can hold before then.
type holdGuard struct {
	ctx    context.Context // the work's
	cancel context.CancelCauseFunc
	stop   context.CancelFunc // ends the touching
	lost   atomic.Bool
	done   chan struct{} // closed when the goroutine is gone
}

// guard starts the one goroutine that touches; end stops it and waits.
func guard(ctx context.Context, svc Service, hold Info, sent time.Time) *holdGuard {
	g := &holdGuard{done: make(chan struct{})}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	touching, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.stop = stop
	go g.run(touching, svc, hold, sent)
	return g
}

// end stops the guard and reports whether the hold was lost before.
func (g *holdGuard) end() (lost bool) {
	g.stop()
	<-g.done
	g.cancel(context.Canceled)
	return g.lost.Load()
}

// lose tells the work. A touch that is on its way is of no use any more.
func (g *holdGuard) lose() {
	g.lost.Store(true)
	g.cancel(ErrLost)
	g.stop()
}

func (g *holdGuard) run(ctx context.Context, svc Service, hold Info, sent time.Time) {
	defer close(g.done)
	good := hold.Timeout - DriftMargin(hold.Timeout)
	deadline := sent.Add(good)
	expire := time.AfterFunc(time.Until(deadline), g.lose)
	defer func() {
		if !expire.Stop() { // it went off, though lose may not have run yet
			g.lose()
		}
	}()
	next := time.NewTimer(hold.Timeout / 3)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		sent := time.Now()
		switch err := touch(ctx, svc, hold, deadline); {
		case err == nil:
			if !expire.Stop() {
				return // a late answer never revives a lost hold
			}
			deadline = sent.Add(good)
			expire.Reset(time.Until(deadline))
			next.Reset(hold.Timeout / 3)
		case errors.Is(err, ErrNotHeld):
			g.lose()
			return
		default: // nobody answered; the deadline decides how long to try
			next.Reset(hold.Timeout / 20)
		}
	}
}

// touch is one touch that ends at the deadline. A service that was given another
// hold by that name touches that one; then this one is gone.
func touch(ctx context.Context, svc Service, hold Info, deadline time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	touched, err := svc.Touch(ctx, hold.Name)
	if err == nil && touched.Token != hold.Token {
		return ErrNotHeld
	}
	return err
}
