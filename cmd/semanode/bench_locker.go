package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/load"
)

// benchLocker is one worker's access to the cluster, as one of many goroutines of a
// program that share a client: single acquires go through a fork, so that workers
// which want the same name do not act on each other's holds, and waits through locks.
type benchLocker struct {
	client  *client.Client
	service sema.Service
	owner   string
	timeout time.Duration

	held   map[string]bool // by service
	waited string          // the name that Lock was called with last
	lock   *client.Lock    // what it got; nil if nothing
	unkeep func()          // ends its context
}

var _ load.Locker = (*benchLocker)(nil)

func newBenchLocker(c *client.Client, owner string, timeout time.Duration) *benchLocker {
	return &benchLocker{client: c, service: c.Fork(), owner: owner, timeout: timeout, held: map[string]bool{}}
}

func (l *benchLocker) TryAcquire(ctx context.Context, name string) (bool, error) {
	for {
		info, err := l.service.Acquire(ctx, name, l.owner, l.timeout)
		switch {
		case err != nil:
			return false, err
		case info.Status == sema.Acquired:
			l.held[name] = true
			return true, nil
		case info.Status == sema.OwnedBySomeoneElse:
			return false, nil
		}
		// A hold that was overdue has gone: try again at once.
	}
}

func (l *benchLocker) Touch(ctx context.Context, name string) error {
	_, err := l.service.Touch(ctx, name)
	return err
}

// Release ends whatever this worker has under the name. Somebody else's hold is in
// nobody's way, unless there should be one of the worker's own.
func (l *benchLocker) Release(ctx context.Context, name string) error {
	if name == l.waited && !l.held[name] {
		return l.unlock(ctx)
	}
	err := l.service.Release(ctx, name)
	if errors.Is(err, sema.ErrNotHeld) && !l.held[name] {
		err = nil
	}
	if err == nil || errors.Is(err, sema.ErrNotHeld) {
		delete(l.held, name)
	}
	return err
}

// Lock waits in line. ctx bounds the wait alone: what it got is kept until Release.
func (l *benchLocker) Lock(ctx context.Context, name string) error {
	keep, unkeep := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { unkeep(context.Cause(ctx)) })
	lock, err := l.client.Lock(keep, name, client.LockOptions{Owner: l.owner, Timeout: l.timeout})
	stop()
	l.waited = name
	if err != nil {
		unkeep(nil)
		return err // whatever it may have got was given back
	}
	l.lock, l.unkeep = lock, func() { unkeep(nil) }
	return nil
}

func (l *benchLocker) unlock(ctx context.Context) error {
	if l.lock == nil {
		return nil
	}
	err := l.lock.Unlock(ctx)
	if err == nil || errors.Is(err, sema.ErrLost) {
		l.unkeep()
		l.lock = nil
	}
	return err
}

func (l *benchLocker) Get(ctx context.Context, name string) error {
	if _, err := l.service.Get(ctx, name); !errors.Is(err, sema.ErrNotFound) {
		return err
	}
	return nil
}

// Close has nothing to close: the clients are the command's.
func (l *benchLocker) Close() error {
	if l.lock != nil {
		l.unkeep()
		return fmt.Errorf("%q was not unlocked", l.waited)
	}
	return nil
}
