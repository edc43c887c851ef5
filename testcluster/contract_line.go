package testcluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema"
)

// waiting is a user who waits in line.
type waiting struct {
	*user
	leave func() // the line
	// done is closed when the wait has ended, with the rest.
	done  chan struct{}
	h     hold
	ended time.Time
	err   error
}

// waits takes a place in line, which is the nth then.
func (u *user) waits(name string, timeout time.Duration, nth int, told func(sema.Place)) *waiting {
	u.s.Helper()
	ctx, cancel := context.WithCancel(u.s.ctx)
	w := u.waitsWith(ctx, name, timeout, told)
	w.leave = cancel
	u.s.eventually(fmt.Sprintf("%s is number %d in line", u.owner, nth), func() error {
		select {
		case <-w.done:
			u.s.Fatalf("%s waits for %.40q, which is held, and is told %v, error %v", u.owner, name, show(w.h.Info), w.err)
		default:
		}
		return u.s.countLine(name, nth)
	})
	return w
}

func (u *user) waitsWith(ctx context.Context, name string, timeout time.Duration, told func(sema.Place)) *waiting {
	u.s.Helper()
	svc, ok := u.Service.(sema.Waiter)
	if !ok {
		u.s.Skip("it cannot wait in line")
	}
	w := &waiting{user: u, done: make(chan struct{})}
	u.s.start(func() {
		defer close(w.done)
		sent := time.Now()
		info, err := svc.AcquireWait(ctx, u.s.full(name), u.owner, timeout, told)
		w.h, w.err, w.ended = hold{info, sent}, err, time.Now()
		if err == nil {
			u.noteTaken(info)
		}
	})
	return w
}

// getsIt waits until the wait has ended well.
func (w *waiting) getsIt(name string, timeout time.Duration) hold {
	w.s.Helper()
	await(w.s, w.owner+" is granted "+name, w.done)
	if w.err != nil || w.h.Status != sema.Acquired {
		w.s.Fatalf("%s waits in line for %.40q: %v, error %v; want ACQUIRED", w.owner, name, show(w.h.Info), w.err)
	}
	w.s.isGrant(w.user, name, timeout, w.h.Info)
	return w.h
}

// hasLeft waits until the wait has ended without success.
func (w *waiting) hasLeft(name string, want error) {
	w.s.Helper()
	await(w.s, w.owner+" leaves the line of "+name, w.done)
	if !errors.Is(w.err, want) || errors.Is(w.err, sema.ErrOutcomeUnknown) {
		w.s.Errorf("%s leaves the line of %.40q: %v, error %v; want %v and nothing unknown", w.owner, name, show(w.h.Info), w.err, want)
	}
}

// inLine waits until so many wait.
func (s *scene) inLine(name string, want int) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d wait in line", want), func() error { return s.countLine(name, want) })
}

func (s *scene) countLine(name string, want int) error {
	info, err := s.alice.Get(s.ctx, s.full(name))
	if err == nil && info.Waiting != want {
		err = fmt.Errorf("get says that %d wait", info.Waiting)
	}
	return err
}
