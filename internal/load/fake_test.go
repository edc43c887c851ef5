package load_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/internal/load"
)

func init() { load.Virtual() }

// service is a lock service whose calls each take as long as it is told.
type service struct {
	// call tells how long a call takes and what comes of it. at counts from
	// the making of the service. A nil error is the call's own answer. It is called by one
	// goroutine at a time.
	call func(op string, at time.Duration) (time.Duration, error)

	born   time.Time
	mu     sync.Mutex
	all    map[string]*semaphore
	calls  map[string]int
	names  map[string]bool
	opened int
	closed int
}

// takes is a call that takes this long and succeeds.
func takes(d time.Duration) func(string, time.Duration) (time.Duration, error) {
	return func(string, time.Duration) (time.Duration, error) { return d, nil }
}

func newService(call func(op string, at time.Duration) (time.Duration, error)) *service {
	return &service{call: call, born: time.Now(), all: map[string]*semaphore{},
		calls: map[string]int{}, names: map[string]bool{}}
}

func (s *service) dial(int) (load.Locker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return &locker{s}, nil
}

// left checks that nothing was left behind.
func (s *service) left(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, sem := range s.all {
		if sem.holder != nil {
			t.Errorf("%q is left behind", name)
		}
	}
	if s.opened != s.closed {
		t.Errorf("%d of %d lockers are closed", s.closed, s.opened)
	}
}

// lose ends all holds. It is for call, which is called with mu held.
func (s *service) lose() {
	for _, sem := range s.all {
		sem.free()
	}
}

// semaphore is one permit. Those that wait to put it into taken are its line.
type semaphore struct {
	taken  chan struct{}
	holder *locker // guarded by the service's mu
}

func (sem *semaphore) free() {
	if sem.holder != nil {
		sem.holder = nil
		<-sem.taken
	}
}

func (s *service) semaphore(name string) *semaphore {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[name] == nil {
		s.all[name] = &semaphore{taken: make(chan struct{}, 1)}
	}
	return s.all[name]
}

type locker struct{ *service }

// enter spends the time of a call.
func (l *locker) enter(ctx context.Context, op, name string) error {
	l.mu.Lock()
	took, err := l.call(op, time.Since(l.born))
	l.calls[op]++
	l.names[name] = true
	l.mu.Unlock()
	timer := time.NewTimer(took)
	defer timer.Stop()
	select {
	case <-timer.C:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *locker) TryAcquire(ctx context.Context, name string) (bool, error) {
	if err := l.enter(ctx, "acquire", name); err != nil {
		return false, err
	}
	sem := l.semaphore(name)
	select {
	case sem.taken <- struct{}{}:
		l.granted(sem)
		return true, nil
	default:
		return false, nil
	}
}

func (l *locker) Lock(ctx context.Context, name string) error {
	if err := l.enter(ctx, "lock", name); err != nil {
		return err
	}
	sem := l.semaphore(name)
	select {
	case sem.taken <- struct{}{}:
		l.granted(sem)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *locker) granted(sem *semaphore) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sem.holder = l
}

func (l *locker) Touch(ctx context.Context, name string) error {
	if err := l.enter(ctx, "touch", name); err != nil {
		return err
	}
	sem := l.semaphore(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if sem.holder != l {
		return errors.New("not held")
	}
	return nil
}

func (l *locker) Release(ctx context.Context, name string) error {
	if err := l.enter(ctx, "release", name); err != nil {
		return err
	}
	sem := l.semaphore(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if sem.holder == l {
		sem.free()
	}
	return nil
}

func (l *locker) Get(ctx context.Context, name string) error { return l.enter(ctx, "get", name) }

func (l *locker) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	return nil
}

// inTime runs a test in virtual time, which ends when no goroutine is left.
func inTime(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// mustRun runs a load that must succeed and leave nothing behind.
func mustRun(t *testing.T, s *service, cfg load.Config) load.Result {
	t.Helper()
	r, err := load.Run(t.Context(), cfg, s.dial)
	if err != nil {
		t.Fatal(err)
	}
	s.left(t)
	return r
}

// near checks a number that rounding may move a little.
func near(t *testing.T, what string, got, want, by float64) {
	t.Helper()
	if got < want-by || got > want+by {
		t.Errorf("%s: %v, want %v ± %v", what, got, want, by)
	}
}
