package sema

import (
	"context"
	"errors"
	"time"

	"github.com/semanode/sema/internal/leash"
	"github.com/semanode/sema/internal/moment"
)

// DriftMargin is how much earlier than the timeout a holder must consider its
// hold lost: one part in a hundred, for two clocks that run at different rates
// (NTP slews by at most 0.05 %, bad quartz is off by 0.02 %), and 10 ms for a
// goroutine that is scheduled late.
func DriftMargin(timeout time.Duration) time.Duration {
	return timeout/100 + 10*time.Millisecond
}

// holdGuard keeps one hold alive. Its leash ends with cause ErrLost when the hold
// is gone, or at the local deadline: the moment before the last successful
// request was sent, plus the timeout, less the margin. The cluster counts from a
// later moment, so nobody else can hold before then.
type holdGuard struct {
	*leash.Leash
	stop context.CancelFunc // ends the touching
	done chan struct{}      // closed when the goroutine is gone
}

// guard starts the one goroutine that touches; end stops it and waits.
func guard(ctx context.Context, svc Service, hold Info, sent moment.Moment) *holdGuard {
	g := &holdGuard{
		Leash: leash.New(ctx, sent, hold.Timeout-DriftMargin(hold.Timeout), ErrLost),
		done:  make(chan struct{}),
	}
	touching, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.stop = stop
	go g.run(touching, svc, hold)
	return g
}

// end stops the guard and reports whether the hold was lost before.
func (g *holdGuard) end() (lost bool) {
	g.stop()
	<-g.done
	return g.Drop()
}

func (g *holdGuard) run(ctx context.Context, svc Service, hold Info) {
	defer close(g.done)
	next := time.NewTimer(hold.Timeout / 3)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		sent := moment.Now()
		switch err := touch(ctx, svc, hold, g.Sent().Until(hold.Timeout-DriftMargin(hold.Timeout))); {
		case err == nil:
			if !g.Extend(sent) {
				return // a late answer never revives a lost hold
			}
			next.Reset(hold.Timeout / 3)
		case errors.Is(err, ErrNotHeld):
			g.Lose()
			return
		case g.Lost():
			return
		default: // nobody answered; the deadline decides how long to try
			next.Reset(hold.Timeout / 20)
		}
	}
}

// touch is one touch that takes no longer than limit. A service that was given
// another hold by that name touches that one; then this one is gone.
func touch(ctx context.Context, svc Service, hold Info, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	touched, err := svc.Touch(ctx, hold.Name)
	if err == nil && touched.Token != hold.Token {
		return ErrNotHeld
	}
	return err
}
