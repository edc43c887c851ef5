package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// maxFinished is how many attempts one Acquire makes that were each granted a
// hold which ended before its answer came. More than two in a row means that
// something else is wrong, such as an identity that was used before.
const maxFinished = 3

// Acquire implements [sema.Service]. See the package documentation for what
// becomes of an earlier acquire of the same name whose outcome is unknown.
func (s *Session) Acquire(ctx context.Context, name, owner string, timeout time.Duration) (sema.Info, error) {
	if err := sema.Validate(name, owner, timeout); err != nil {
		return sema.Info{}, err
	}
	a, continued, err := s.resume(ctx, name, owner, timeout)
	if err != nil {
		return sema.Info{}, err
	}
	for finished := 1; ; finished++ {
		if !continued {
			a = acquire{attempt: s.attempts.begin(), owner: owner, timeout: timeout}
		}
		info, err := s.try(ctx, name, a, continued)
		switch {
		case err == nil:
			s.attempts.end(a.attempt)
			s.learn(name, info, a.lane)
			return info, nil
		case errors.Is(err, sema.ErrAttemptFinished):
			s.attempts.end(a.attempt)
			if finished == maxFinished {
				return sema.Info{}, err
			}
			continued = false
		case continued || errors.Is(err, sema.ErrOutcomeUnknown):
			s.keep(name, a)
			return sema.Info{}, unknown(err)
		default:
			s.attempts.end(a.attempt)
			return sema.Info{}, err
		}
	}
}

// try asks for the attempt. A hold that a continued attempt has is touched, so
// that the time of the call at hand is what counts; one that is gone by then is
// an attempt that is finished.
func (s *Session) try(ctx context.Context, name string, a acquire, continued bool) (sema.Info, error) {
	info, err := s.backend.Acquire(ctx, transport.AcquireRequest{
		Name: name, Owner: a.owner, Timeout: a.timeout, Attempt: s.attempts.wire(a.attempt), Retry: continued,
	})
	if err != nil || !continued || info.Status != sema.Acquired {
		return info, err
	}
	touched, err := s.backend.Touch(ctx, transport.TouchRequest{Name: name, Token: info.Token, Attempt: s.attempts.heard(a.lane)})
	if errors.Is(err, sema.ErrNotHeld) {
		return sema.Info{}, sema.ErrAttemptFinished
	}
	return touched, err
}

// resume looks for an acquire of unknown outcome that asked for the same, and
// undoes all others of that name. If it cannot, it leaves all as they were.
func (s *Session) resume(ctx context.Context, name, owner string, timeout time.Duration) (a acquire, found bool, err error) {
	_, open := s.take(name)
	for i, old := range open {
		if !found && old.owner == owner && old.timeout == timeout {
			a, found = old, true
			continue
		}
		if err := s.undo(ctx, name, old); err != nil {
			if found {
				s.keep(name, a)
			}
			s.keep(name, open[i:]...)
			return acquire{}, false, fmt.Errorf("undoing an earlier acquire of %q by %q, whose outcome is unknown: %w", name, old.owner, err)
		}
	}
	return a, found, nil
}

// undo frees whatever the attempt was granted, sees to it that it is granted
// nothing later, and ends it.
func (s *Session) undo(ctx context.Context, name string, a acquire) error {
	_, err := s.backend.Release(ctx, transport.ReleaseRequest{Name: name, Attempt: s.attempts.wire(a.attempt)})
	if err != nil && !errors.Is(err, sema.ErrNotHeld) && !errors.Is(err, sema.ErrAttemptFinished) {
		return err
	}
	s.attempts.end(a.attempt)
	return nil
}

// unknown makes err match [sema.ErrOutcomeUnknown].
func unknown(err error) error {
	if errors.Is(err, sema.ErrOutcomeUnknown) {
		return err
	}
	return &sema.OutcomeUnknownError{Cause: err}
}
