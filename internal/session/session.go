// Package session is the memory of a [sema.Service] value: which hold it has
// under which name, and which attempts it has under way. It turns any [Backend],
// which is shown tokens and attempts, into a Service, which is not: the network
// client and the node share it.
//
// # What is remembered
//
// By name, the token of the hold that was acquired last, and the acquires whose
// outcome is unknown. A name is forgotten when its hold was released or turned
// out to be lost, so the memory grows with what is held and with nothing else.
//
// # Attempts
//
// Every acquire is an attempt with a number of its own, and it stays open until
// an answer is known:
//
//   - An answer of any status ends it, and so does a failure that says that
//     nothing was changed.
//   - An unknown outcome leaves it open. The next Acquire of that name with the
//     same owner and timeout continues it; one with another owner or timeout
//     undoes it first, and fails if that cannot be done; Release undoes it. Once
//     an outcome was unknown, only an answer of the log makes it known: a later
//     failure to ask is reported as "outcome unknown" again.
//   - An acquire that is told that its attempt is finished was granted a hold that
//     has ended since, and its answer was lost. It goes on with a new attempt.
//
// An acquire that waits in line, or whose hold is kept by a lock, is undone at once if
// its outcome is unknown: [Session.Obtain] leaves nothing to continue. Those that wait
// have identities of their own, because they stay open for long.
//
// A hold that a continued attempt turns out to have is touched before it is
// handed out, because it may have been granted long before: its holder counts
// from the call that it made now.
package session

import (
	"context"
	"errors"
	"sync"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// Backend is the part of a [transport.Backend] that a Session needs. Its methods
// are called from many goroutines, never with a lock held.
type Backend interface {
	Acquire(ctx context.Context, req transport.AcquireRequest) (sema.Info, error)
	Touch(ctx context.Context, req transport.TouchRequest) (sema.Info, error)
	Release(ctx context.Context, req transport.ReleaseRequest) (released bool, err error)
	Get(ctx context.Context, req transport.GetRequest) (transport.GetResult, error)
	Wait(ctx context.Context, req transport.AcquireRequest, told func(sema.Place)) (sema.Info, error)
}

// Session is a [sema.Service] over a Backend. It is safe for use by many
// goroutines. It needs no closing.
//
// It has one hold per name. Goroutines that compete with each other for the same
// name need a value each, see [Session.Fork].
type Session struct {
	backend  Backend
	attempts *attempts // shared with all forks
	waits    *attempts // of those that wait in line; shared too

	mu    sync.Mutex // never held across a call of the backend
	names map[string]memory
}

var (
	_ sema.Waiter = (*Session)(nil)
	_ sema.Forker = (*Session)(nil)
)

// New returns a Session that speaks for the client with this id. Nobody may have
// used the id before; the zero value stands for a new one.
func New(backend Backend, id sema.ClientID) *Session {
	if id.IsZero() {
		id = NewClientID()
	}
	return &Session{backend: backend, attempts: newAttempts(id), waits: newAttempts(NewClientID()), names: map[string]memory{}}
}

// Fork returns a Service over the same backend with a memory of its own: its
// holds are unknown to s and the other way round. To the cluster both are the
// same client, so a fork costs nothing there.
func (s *Session) Fork() sema.Service {
	return &Session{backend: s.backend, attempts: s.attempts, waits: s.waits, names: map[string]memory{}}
}

// Heard tells the cluster that this client is alive and which answers it has: what
// requests carry that touch holds which the Session does not remember.
func (s *Session) Heard() sema.Attempt { return s.waits.heard(nil) }

// Touch implements [sema.Service]. Without a hold under this name it returns
// [sema.ErrNotHeld] without asking anybody.
func (s *Session) Touch(ctx context.Context, name string) (sema.Info, error) {
	if err := sema.ValidateName(name); err != nil {
		return sema.Info{}, err
	}
	held := s.held(name)
	if held.token == 0 {
		return sema.Info{}, sema.ErrNotHeld
	}
	info, err := s.backend.Touch(ctx, transport.TouchRequest{Name: name, Token: held.token, Attempt: s.attempts.heard(held.lane)})
	if errors.Is(err, sema.ErrNotHeld) {
		s.forget(name, held.token)
	}
	if err != nil {
		return sema.Info{}, err
	}
	return info, nil
}

// Get implements [sema.Service].
func (s *Session) Get(ctx context.Context, name string) (sema.Info, error) {
	return s.get(ctx, transport.GetRequest{Name: name})
}

// GetStale is Get from the memory of the node that is asked: it needs no leader
// and may be behind.
func (s *Session) GetStale(ctx context.Context, name string) (sema.Info, error) {
	return s.get(ctx, transport.GetRequest{Name: name, Stale: true})
}

func (s *Session) get(ctx context.Context, req transport.GetRequest) (sema.Info, error) {
	if err := req.Validate(); err != nil {
		return sema.Info{}, err
	}
	got, err := s.backend.Get(ctx, req)
	if err != nil {
		return sema.Info{}, err
	}
	s.Label(&got.Info)
	return got.Info, nil
}

// Label fills in Status as Get and lists have it: Acquired if the hold is this
// value's own, OwnedBySomeoneElse if not.
func (s *Session) Label(info *sema.Info) {
	info.Status = sema.OwnedBySomeoneElse
	if info.Token != 0 && info.Token == s.held(info.Name).token {
		info.Status = sema.Acquired
	}
}
