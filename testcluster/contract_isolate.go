package testcluster

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/semanode/sema"
)

// [sema.Isolate] over a Service.

var isolateChecks = []check{
	{"it acquires, works and releases", func(s *scene) {
		failed := errors.New("work failed")
		for _, want := range []error{nil, failed} {
			got, err := sema.Isolate(s.ctx, s.alice.Service, s.full("a"), "alice", func(_ context.Context, h sema.Info) (string, error) {
				s.isGrant(s.alice, "a", long, h)
				s.bob.isRefused("a", hold{h, time.Now()})
				return "result", want
			}, sema.IsolateOptions{Timeout: long})
			if got != "result" || !errors.Is(err, want) || errors.Is(err, sema.ErrLost) {
				s.Errorf("work returned %q, %v, and Isolate %q, %v", "result", want, got, err)
			}
			s.free("a")
		}
		s.bob.takes("a", long)
	}},
	{"it releases when work panics", func(s *scene) {
		panicked := func() (value any) {
			defer func() { value = recover() }()
			_, _ = sema.Isolate(s.ctx, s.alice.Service, s.full("a"), "alice", func(context.Context, sema.Info) (int, error) { panic("of work") }, sema.IsolateOptions{})
			return nil
		}()
		if panicked != "of work" {
			s.Errorf("work panicked, and Isolate with %v", panicked)
		}
		s.free("a")
	}},
	{"it waits while somebody else holds, and says so", isolateWaits},
	{"it keeps the hold while work lasts", func(s *scene) {
		_, err := sema.Isolate(s.ctx, s.alice.Service, s.full("a"), "alice", func(ctx context.Context, h sema.Info) (int, error) {
			for began := time.Now(); time.Since(began) < 2*h.Timeout && ctx.Err() == nil; s.pass(pause) {
				if b := s.bob.asks("a", long); b.Status != sema.OwnedBySomeoneElse || b.Token != h.Token {
					s.Errorf("%v after alice began to work, bob asks and is told %v", time.Since(began), show(b.Info))
					break
				}
			}
			return 0, context.Cause(ctx)
		}, sema.IsolateOptions{Timeout: 2 * short})
		if err != nil {
			s.Errorf("Isolate: %v", err)
		}
		s.free("a")
	}},
	{"work is told of a lost hold before anybody else can have it", isolateLost},
	{"work is told that its hold was released", isolateReleased},
	{"what cannot be acquired is not worked on", func(s *scene) {
		h := s.alice.takes("a", long)
		ctx, cancel := context.WithTimeout(s.ctx, short)
		defer cancel()
		_, err := sema.Isolate(ctx, s.bob.Service, s.full("a"), "bob", func(context.Context, sema.Info) (int, error) {
			s.Error("bob worked on what alice holds")
			return 0, nil
		}, sema.IsolateOptions{SleepBetweenAttempts: pause})
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, sema.ErrOutcomeUnknown) {
			s.Errorf("bob's time is up: error %v; want context.DeadlineExceeded", err)
		}
		s.stands("a", h)
		s.alice.releases("a")
		s.free("a")
	}},
}

func isolateWaits(s *scene) {
	h := s.alice.takes("a", long)
	released := false
	_, err := sema.Isolate(s.ctx, s.bob.Service, h.Name, "bob", func(_ context.Context, b sema.Info) (int, error) {
		if !released || b.Token <= h.Token {
			s.Errorf("bob works with token %d, and alice released hers, %d: %v", b.Token, h.Token, released)
		}
		return 0, nil
	}, sema.IsolateOptions{SleepBetweenAttempts: pause, Notify: func(line string) {
		if !released && strings.Contains(line, "alice") {
			released = true
			s.alice.releases("a")
		}
	}})
	if err != nil {
		s.Errorf("Isolate: %v", err)
	}
	s.free("a")
}

// plain hides what a Service can do besides. Isolate then makes no fork of it, so the
// hold is also that of the Service inside.
type plain struct{ sema.Service }

// mute is a plain Service whose touches reach nobody.
type mute struct{ sema.Service }

func (mute) Touch(context.Context, string) (sema.Info, error) { return sema.Info{}, sema.ErrNoLeader }

func isolateLost(s *scene) {
	var next hold
	_, err := sema.Isolate(s.ctx, mute{s.alice.Service}, s.full("a"), "alice", func(ctx context.Context, h sema.Info) (int, error) {
		taken := make(chan hold, 1)
		s.start(func() { taken <- s.bob.takesOver("a") })
		isTold(s, ctx)
		select {
		case b := <-taken:
			s.Errorf("bob acquired before alice was told that her hold is lost: %v", show(b.Info))
			next = b
		default:
			next = await(s, "bob acquires what alice has lost", taken)
		}
		return 0, nil
	}, sema.IsolateOptions{Timeout: short})
	if !errors.Is(err, sema.ErrLost) {
		s.Errorf("Isolate of work whose hold was lost: error %v; want sema.ErrLost", err)
	}
	s.stands("a", next)
}

func isolateReleased(s *scene) {
	var next hold
	_, err := sema.Isolate(s.ctx, plain{s.alice.Service}, s.full("a"), "alice", func(ctx context.Context, h sema.Info) (int, error) {
		s.alice.releases("a")
		next = s.bob.takes("a", long)
		isTold(s, ctx)
		return 0, nil
	}, sema.IsolateOptions{Timeout: short})
	if !errors.Is(err, sema.ErrLost) {
		s.Errorf("Isolate of work whose hold was released: error %v; want sema.ErrLost", err)
	}
	s.stands("a", next)
}

// isTold waits until work is told that its hold is lost.
func isTold(s *scene, ctx context.Context) {
	s.Helper()
	await(s, "work's context ends", ctx.Done())
	if cause := context.Cause(ctx); !errors.Is(cause, sema.ErrLost) {
		s.Errorf("work's context ended because of %v; want sema.ErrLost", cause)
	}
}

// takesOver acquires what somebody else holds as soon as it can be had. It returns
// the zero hold if that is never.
func (u *user) takesOver(name string) hold {
	for {
		sent := time.Now()
		info, err := u.Acquire(u.s.ctx, u.s.full(name), u.owner, long)
		if err != nil {
			u.s.Errorf("%s acquires %q: %v", u.owner, name, err)
			return hold{}
		}
		if u.noteTaken(info); info.Status == sema.Acquired {
			return hold{info, sent}
		}
		select {
		case <-time.After(pause):
		case <-u.s.ctx.Done():
			return hold{}
		}
	}
}
