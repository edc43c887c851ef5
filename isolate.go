package sema

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema/internal/moment"
)

// The defaults of [IsolateOptions].
const (
	DefaultTimeout              = 30 * time.Second
	DefaultSleepBetweenAttempts = 15 * time.Second
)

// IsolateOptions tune [Isolate]. The zero value is ready to use.
type IsolateOptions struct {
	// Timeout of the hold: how soon others may go on after this process died.
	// 30 s if zero. While the work runs, the hold is touched three times per
	// timeout.
	Timeout time.Duration
	// SleepBetweenAttempts is the pause between tries while somebody else
	// holds the semaphore; with a [Waiter], which need not try again, it is how
	// often Notify is told. 15 s if zero.
	SleepBetweenAttempts time.Duration
	// Notify, if set, is told in one readable line about everything that keeps
	// the work waiting or the hold from being released. It is called from the
	// goroutine that called Isolate.
	Notify func(line string)
}

// Validate reports every fault of the options, joined.
func (o IsolateOptions) Validate() error {
	o = o.withDefaults()
	var sleep error
	if o.SleepBetweenAttempts < 0 {
		sleep = &InvalidError{Field: "SleepBetweenAttempts", Value: o.SleepBetweenAttempts.String(), Limit: "0 (15s) or more"}
	}
	return errors.Join(ValidateTimeout(o.Timeout), sleep)
}

func (o IsolateOptions) withDefaults() IsolateOptions {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.SleepBetweenAttempts == 0 {
		o.SleepBetweenAttempts = DefaultSleepBetweenAttempts
	}
	if o.Notify == nil {
		o.Notify = func(string) {}
	}
	return o
}

// Isolate acquires the semaphore, runs work while holding it, and releases it:
// also when work fails or panics, and also when ctx has ended by then. While
// somebody else holds the semaphore it waits in line, if svc is a [Waiter], and
// otherwise tries again, until ctx ends.
//
// Any number of goroutines may isolate work under one name through one svc, if it
// is a [Forker], as those of this module are: the hold is then known to Isolate
// alone, and svc.Get calls it somebody else's. With any other Service they need a
// value each.
//
// The context given to work is cancelled with cause [ErrLost] when the hold is
// gone or can no longer be known to stand, and with ctx. Isolate waits for work
// to return all the same, and keeps the hold alive as long as it can while work
// winds down. hold.Token belongs in every write that work makes, see the package
// documentation.
//
// The error is work's own, joined with [ErrLost] if the hold was lost before
// work returned: then its result may have been made beside somebody else's. If
// work never ran, the error says what kept it waiting.
func Isolate[T any](ctx context.Context, svc Service, name, owner string,
	work func(ctx context.Context, hold Info) (T, error), opts IsolateOptions) (result T, err error) {

	opts = opts.withDefaults()
	if err := errors.Join(ValidateName(name), ValidateOwner(owner), opts.Validate()); err != nil {
		return result, err
	}
	if f, ok := svc.(Forker); ok {
		svc = f.Fork()
	}
	acquire := acquireForWork
	if _, ok := svc.(Waiter); ok {
		acquire = waitForWork
	}
	hold, sent, err := acquire(ctx, svc, name, owner, opts)
	if err != nil {
		return result, err
	}
	guarded := guard(ctx, svc, hold, sent)
	defer func() { // runs on a panic of work too
		lost := guarded.end()
		if released := release(ctx, svc, name, opts.Timeout); errors.Is(released, ErrNotHeld) {
			lost = true // ended by somebody else and not noticed until now
		} else if released != nil {
			opts.Notify(fmt.Sprintf("%q could not be released and frees itself within %v: %v", name, opts.Timeout, released))
		}
		if lost && !errors.Is(err, ErrLost) {
			err = errors.Join(err, ErrLost)
		}
	}()
	return work(guarded.Context(), hold)
}

// waitForWork waits in line. It tells how the wait goes on from the goroutine
// that called it. It returns the moment from which the hold's time runs.
func waitForWork(ctx context.Context, svc Service, name, owner string, opts IsolateOptions) (Info, moment.Moment, error) {
	for {
		sent := moment.Now()
		info, err := waitInLine(ctx, svc.(Waiter), name, owner, opts)
		if err != nil {
			return Info{}, sent, fmt.Errorf("waiting for %q: %w", name, err)
		}
		sent, err = refresh(ctx, svc, info, sent)
		if !errors.Is(err, ErrNotHeld) {
			return info, sent, err
		}
		opts.Notify(fmt.Sprintf("%q was acquired and lost before the answer came; waiting again", name))
	}
}

// waitInLine is one wait, and what is said about it.
func waitInLine(ctx context.Context, w Waiter, name, owner string, opts IsolateOptions) (Info, error) {
	type answer struct {
		info Info
		err  error
	}
	answers, places := make(chan answer, 1), make(chan Place, 1)
	ctx, cancel := context.WithCancel(ctx)
	answered := false
	defer func() {
		cancel()
		if answered {
			return
		}
		if a := <-answers; a.err == nil { // Notify panicked, and there will be no work
			_ = release(ctx, w, name, opts.Timeout)
		}
	}()
	go func() { // ends with the wait, and the wait with ctx
		info, err := w.AcquireWait(ctx, name, owner, opts.Timeout, func(p Place) {
			select {
			case <-places: // only the latest counts
			default:
			}
			places <- p
		})
		answers <- answer{info, err}
	}()
	tell := time.NewTicker(opts.SleepBetweenAttempts)
	defer tell.Stop()
	var last Place
	for {
		select {
		case a := <-answers:
			answered = true
			return a.info, a.err
		case p := <-places:
			first := last.Position == 0
			if last = p; !first {
				continue
			}
		case <-tell.C:
		}
		if last.Position != 0 {
			opts.Notify(fmt.Sprintf("%q is held by %s since %s; waiting in line, number %d",
				name, last.Holder.Owner, clock(last.Holder.CreatedAt), last.Position))
		} else {
			opts.Notify(fmt.Sprintf("still waiting for %q", name))
		}
	}
}

// acquireForWork tries until the semaphore is acquired or ctx ends. It returns
// the moment before the successful request was sent: the hold's local deadline
// counts from there.
func acquireForWork(ctx context.Context, svc Service, name, owner string, opts IsolateOptions) (Info, moment.Moment, error) {
	for {
		sent := moment.Now()
		info, err := svc.Acquire(ctx, name, owner, opts.Timeout)
		if err != nil {
			if errors.Is(err, ErrOutcomeUnknown) { // undo what may have been granted
				if undo := release(ctx, svc, name, opts.Timeout); undo != nil {
					err = fmt.Errorf("%w (and releasing it again: %w)", err, undo)
				}
			}
			return Info{}, sent, fmt.Errorf("acquire %q: %w", name, err)
		}
		switch info.Status {
		case Acquired:
			sent, err = refresh(ctx, svc, info, sent)
			if !errors.Is(err, ErrNotHeld) {
				return info, sent, err
			}
			opts.Notify(fmt.Sprintf("%q was acquired and lost before the answer came; trying again at once", name))
		case ForcedReleased:
			opts.Notify(fmt.Sprintf("%q was left by %s, who did not touch it after %s; trying again at once",
				name, info.Owner, clock(info.UpdatedAt)))
		case ReleasedInTheMeanTime:
			opts.Notify(fmt.Sprintf("%q was released in the meantime; trying again at once", name))
		case OwnedBySomeoneElse:
			opts.Notify(fmt.Sprintf("%q is held by %s since %s until %s or longer; next try in %v",
				name, info.Owner, clock(info.CreatedAt), clock(info.ExpiresAt), opts.SleepBetweenAttempts))
			if err := sleep(ctx, opts.SleepBetweenAttempts); err != nil {
				return Info{}, sent, fmt.Errorf("waiting for %q, held by %s: %w", name, info.Owner, err)
			}
		default:
			return Info{}, sent, fmt.Errorf("acquire %q: the service answered with %v, which this version does not know", name, info.Status)
		}
		if err := context.Cause(ctx); err != nil {
			return Info{}, sent, fmt.Errorf("waiting for %q: %w", name, err)
		}
	}
}

// refresh touches a hold whose acquire took long, such as one that had to wait for
// a leader, or in line: it may have been granted at any time since it was sent,
// and work should start with most of its timeout ahead. A hold that cannot be touched
// is as good as it was, and if no time is left of that, it is released.
func refresh(ctx context.Context, svc Service, hold Info, sent moment.Moment) (moment.Moment, error) {
	if sent.Elapsed() < hold.Timeout/3 {
		return sent, nil
	}
	again := moment.Now()
	err := touch(ctx, svc, hold, hold.Timeout)
	switch {
	case err == nil:
		return again, nil
	case errors.Is(err, ErrNotHeld):
		return sent, err
	case sent.Until(hold.Timeout-DriftMargin(hold.Timeout)) > 0:
		return sent, nil
	}
	if undo := release(ctx, svc, hold.Name, hold.Timeout); undo != nil && !errors.Is(undo, ErrNotHeld) {
		err = fmt.Errorf("%w (and releasing it again: %w)", err, undo)
	}
	return sent, fmt.Errorf("%q was acquired, nobody knows when, and could not be touched: %w", hold.Name, err)
}

// release frees the semaphore even if ctx has ended, within the hold's timeout:
// after that it is free by itself.
func release(ctx context.Context, svc Service, name string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(timeout, 10*time.Second))
	defer cancel()
	return svc.Release(ctx, name)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05Z") }
