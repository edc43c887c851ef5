package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/moment"
	"github.com/semanode/sema/transport"
)

// undoTimeout bounds the undoing of an acquire whose caller has gone. What could
// not be undone by then, the cluster cancels by itself.
const undoTimeout = 5 * time.Second

// Wanted is what [Session.Obtain] is to get.
type Wanted struct {
	Name    string
	Owner   string
	Timeout time.Duration
	// Wait in line while somebody else holds.
	Wait bool
	// Told, if set, is told the place in line when it is taken and, with Positions,
	// as it changes, by a goroutine of the call.
	Told      func(sema.Place)
	Positions bool
}

// Granted is a hold that [Session.Obtain] got, and that the Session does not
// remember.
type Granted struct {
	Info sema.Info // Status Acquired
	// Sent is a moment from which the hold stands at the earliest: before the last
	// request that said so was sent.
	Sent moment.Moment
}

// AcquireWait implements [sema.Waiter]. Earlier acquires of the name whose outcome is
// unknown are undone first: it would wait for a hold that is its caller's own.
func (s *Session) AcquireWait(ctx context.Context, name, owner string, timeout time.Duration, told func(sema.Place)) (sema.Info, error) {
	if _, _, err := s.resume(ctx, name, "", 0); err != nil { // none asked for that, so none is continued
		return sema.Info{}, err
	}
	granted, from, err := s.obtain(ctx, Wanted{Name: name, Owner: owner, Timeout: timeout, Wait: true, Told: told, Positions: told != nil})
	if err != nil {
		return sema.Info{}, err
	}
	s.learn(name, granted.Info, from)
	return granted.Info, nil
}

// Obtain acquires, and leaves nothing behind if it fails: a ticket or a hold that
// it may have is given back, ctx ended or not. Only if that cannot be done either
// does the error match [sema.ErrOutcomeUnknown]; the cluster then cancels the
// ticket by itself, and the hold ends with its timeout. A hold that took long to
// get is touched, so that its holder starts with most of the timeout ahead.
//
// Held by somebody else is a [sema.HeldError], unless it is to wait.
func (s *Session) Obtain(ctx context.Context, want Wanted) (Granted, error) {
	for {
		granted, from, err := s.obtain(ctx, want)
		if err != nil || granted.Sent.Elapsed() < want.Timeout/3 {
			return granted, err
		}
		switch refreshed, err := s.refresh(ctx, granted.Info, from); {
		case err == nil:
			return refreshed, nil
		case !errors.Is(err, sema.ErrNotHeld): // and when it was granted is not known
			return Granted{}, s.giveBack(ctx, granted.Info, from, err)
		case ctx.Err() != nil:
			return Granted{}, context.Cause(ctx)
		}
	}
}

// refresh touches a hold and counts from there.
func (s *Session) refresh(ctx context.Context, hold sema.Info, from *lane) (Granted, error) {
	sent := moment.Now()
	ctx, cancel := context.WithTimeout(ctx, hold.Timeout)
	defer cancel()
	info, err := s.backend.Touch(ctx, transport.TouchRequest{Name: hold.Name, Token: hold.Token, Attempt: s.waits.heard(from)})
	return Granted{info, sent}, err
}

// giveBack frees a hold that cannot be handed out because of why.
func (s *Session) giveBack(ctx context.Context, hold sema.Info, from *lane, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_, err := s.backend.Release(ctx, transport.ReleaseRequest{Name: hold.Name, Token: hold.Token, Attempt: s.waits.heard(from)})
	if err != nil && !errors.Is(err, sema.ErrNotHeld) {
		return unknown(fmt.Errorf("%q was acquired, could not be touched (%w) and not be released: %w", hold.Name, why, err))
	}
	if errors.Is(why, sema.ErrOutcomeUnknown) {
		return known(why)
	}
	return why
}

// obtain makes attempts until one has an answer that counts.
func (s *Session) obtain(ctx context.Context, want Wanted) (Granted, *lane, error) {
	if err := sema.Validate(want.Name, want.Owner, want.Timeout); err != nil {
		return Granted{}, nil, err
	}
	for finished := 0; ; {
		sent := moment.Now()
		info, from, err := s.attempt(ctx, want)
		switch {
		case errors.Is(err, sema.ErrAttemptFinished): // it had a hold that ended before the answer came
			if finished++; finished == maxFinished {
				return Granted{}, nil, err
			}
		case err != nil:
			return Granted{}, nil, err
		case info.Status == sema.Acquired:
			return Granted{info, sent}, from, nil
		case info.Status == sema.OwnedBySomeoneElse && !want.Wait:
			return Granted{}, nil, &sema.HeldError{Info: info}
		case info.Status == sema.ForcedReleased, info.Status == sema.ReleasedInTheMeanTime:
		default:
			return Granted{}, nil, fmt.Errorf("acquire %q: the service answered with %v, which this version does not know", want.Name, info.Status)
		}
		if ctx.Err() != nil {
			return Granted{}, nil, context.Cause(ctx)
		}
	}
}

// attempt makes one attempt, and undoes it if its outcome is unknown. Attempts
// that wait may stay open for long, so they have identities of their own.
func (s *Session) attempt(ctx context.Context, want Wanted) (sema.Info, *lane, error) {
	numbers := s.attempts
	if want.Wait {
		numbers = s.waits
	}
	a := numbers.begin()
	defer numbers.end(a)
	req := transport.AcquireRequest{Name: want.Name, Owner: want.Owner, Timeout: want.Timeout,
		Attempt: numbers.wire(a), Positions: want.Positions}
	var info sema.Info
	var err error
	if want.Wait {
		info, err = s.backend.Wait(ctx, req, want.Told)
	} else {
		info, err = s.backend.Acquire(ctx, req)
	}
	if !errors.Is(err, sema.ErrOutcomeUnknown) {
		return info, a.lane, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_, undo := s.backend.Release(ctx, transport.ReleaseRequest{Name: want.Name, Attempt: numbers.wire(a)})
	if undo == nil || errors.Is(undo, sema.ErrNotHeld) || errors.Is(undo, sema.ErrAttemptFinished) {
		return sema.Info{}, nil, known(err)
	}
	return sema.Info{}, nil, fmt.Errorf("%w (and giving it back: %w)", err, undo)
}

// known is why an attempt failed of which is known by now that it got nothing.
func known(err error) error {
	var unknown *sema.OutcomeUnknownError
	if errors.As(err, &unknown) && unknown.Cause != nil && !errors.Is(unknown.Cause, sema.ErrOutcomeUnknown) {
		return unknown.Cause
	}
	return errors.New("given up: its answer was lost, and what it may have been granted was given back")
}
