package session

import (
	"context"
	"errors"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// Release implements [sema.Service]. It ends all that this value has, or may
// have, under the name: acquires of unknown outcome are undone, and the hold is
// freed by its token. What could not be ended stays remembered for the next
// call.
//
// If an earlier release of the same hold had an unknown outcome, "not held" is
// success: the hold is gone, and most likely by that release. Not so if a touch
// found the hold lost in between; then there is nothing to release, and the
// answer tells whether somebody else holds the semaphore.
//
// If some of it was freed and some could not be, the outcome is unknown.
func (s *Session) Release(ctx context.Context, name string) error {
	if err := sema.ValidateName(name); err != nil {
		return err
	}
	held, open := s.take(name)
	var errs []error
	done := false // some of it
	for _, a := range open {
		if err := s.undo(ctx, name, a); err != nil {
			s.keep(name, a)
			errs = append(errs, err)
		} else {
			done = true
		}
	}
	if held.token != 0 || len(open) == 0 {
		if err := s.release(ctx, name, held); err != nil {
			errs = append(errs, err)
		} else {
			done = true
		}
	}
	err := errors.Join(errs...)
	if len(errs) == 1 {
		err = errs[0]
	}
	if done && err != nil && !errors.Is(err, sema.ErrNotHeld) {
		return &sema.OutcomeUnknownError{Cause: err} // not "failed": something was freed
	}
	return err
}

// release frees the hold, or asks whether somebody else's stands if there is
// none.
func (s *Session) release(ctx context.Context, name string, held hold) error {
	_, err := s.backend.Release(ctx, transport.ReleaseRequest{Name: name, Token: held.token, Attempt: s.attempts.heard(held.lane)})
	switch {
	case err == nil:
		s.forget(name, held.token)
	case errors.Is(err, sema.ErrNotHeld):
		s.forget(name, held.token)
		if held.releasing {
			return nil
		}
	case errors.Is(err, sema.ErrOutcomeUnknown):
		s.noteRelease(name, held.token)
	}
	return err
}
