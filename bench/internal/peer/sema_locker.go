//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/load"
)

// semaLocker is one goroutine's use of a shared client: the Service for single tries
// and a Lock, which is kept alive, for waiting in line.
type semaLocker struct {
	bare
	client  *client.Client
	service sema.Service
	owner   string
	held    string       // by service; empty if nothing is
	lock    *client.Lock // nil if there is none
	end     context.CancelFunc
}

func newSemaLocker(c *client.Client, worker int) load.Locker {
	return &semaLocker{client: c, service: c.Fork(), owner: fmt.Sprintf("worker-%d", worker)}
}

func (l *semaLocker) TryAcquire(ctx context.Context, name string) (bool, error) {
	info, err := l.service.Acquire(ctx, name, l.owner, sema.DefaultTimeout)
	if info.Status != sema.Acquired {
		return false, err
	}
	l.held = name
	return true, err
}

// Lock waits as long as ctx; the lock outlives it.
func (l *semaLocker) Lock(ctx context.Context, name string) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	waiting := context.AfterFunc(ctx, end)
	lock, err := l.client.Lock(life, name, client.LockOptions{Owner: l.owner})
	waiting()
	if err != nil {
		end()
		return err
	}
	l.lock, l.end = lock, end
	return nil
}

func (l *semaLocker) Release(ctx context.Context, name string) error {
	if l.lock == nil || l.lock.Name() != name {
		err := l.service.Release(ctx, name)
		if errors.Is(err, sema.ErrNotHeld) && l.held != name { // somebody else has it: this one was never granted it
			err = nil
		}
		l.held = ""
		return err
	}
	if err := l.lock.Unlock(ctx); err != nil {
		return err
	}
	l.end()
	l.lock = nil
	return nil
}

// semaProbe is a client that finds out when the cluster works again.
type semaProbe struct{ *client.Client }

// Probe implements [Cluster].
func (r *semaRunning) Probe(context.Context) (Probe, error) {
	c, err := r.client()
	return semaProbe{c}, err
}

// Acquire needs no loop: the client tries until ctx ends.
func (p semaProbe) Acquire(ctx context.Context, name string) error {
	info, err := p.Client.Acquire(ctx, name, "probe", sema.DefaultTimeout)
	if err != nil {
		return err
	}
	if info.Status != sema.Acquired {
		return fmt.Errorf("%q, which nobody else wants: %v", name, info.Status)
	}
	return nil
}
