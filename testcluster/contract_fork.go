package testcluster

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/semanode/sema"
)

// What a [sema.Forker] keeps besides.

var forkChecks = []check{
	{"it has holds of its own", func(s *scene) {
		h := s.alice.takes("a", long)
		f := s.alice.fork("fork")
		f.isRefused("a", h)
		f.cannotTouch("a")
		f.cannotRelease("a")
		f.sees("a", sema.OwnedBySomeoneElse, h)
		s.alice.sees("a", sema.Acquired, h)
		s.alice.touches("a", h)
	}},
	{"what it holds is nobody else's", func(s *scene) {
		one, two := s.alice.fork("one"), s.alice.fork("two")
		h := one.takes("a", long)
		for _, u := range []*user{s.alice, two, one.fork("its own fork")} {
			u.isRefused("a", h)
			u.cannotTouch("a")
			u.cannotRelease("a")
			u.sees("a", sema.OwnedBySomeoneElse, h)
		}
		one.releases("a")
		next := two.takes("a", long)
		if next.Token <= h.Token {
			s.Errorf("token %d after %d", next.Token, h.Token)
		}
		one.cannotTouch("a")
		one.cannotRelease("a")
		s.stands("a", next)
	}},
	{"it can do what it was forked from can", func(s *scene) {
		f := s.alice.fork("fork")
		if _, ok := f.Service.(sema.Forker); !ok {
			s.Errorf("a fork, %T, cannot be forked", f.Service)
		}
		_, waiter := s.alice.Service.(sema.Waiter)
		if _, ok := f.Service.(sema.Waiter); ok != waiter {
			s.Errorf("what was forked, %T, is a Waiter: %v; and the fork, %T: %v", s.alice.Service, waiter, f.Service, ok)
		}
	}},
	{"many isolate work through one Service, one at a time", isolateTogether},
}

// fork lets one more user come in, by a fork of this one's Service.
func (u *user) fork(owner string) *user {
	u.s.Helper()
	f, ok := u.Service.(sema.Forker)
	if !ok {
		u.s.Skip("it cannot be forked")
	}
	return u.s.userOf(f.Fork(), owner)
}

func isolateTogether(s *scene) {
	if _, ok := s.alice.Service.(sema.Forker); !ok {
		s.Skip("it cannot be forked")
	}
	const workers = 5
	var working, worked atomic.Int32
	done := make(chan error, workers)
	for i := range workers {
		s.start(func() {
			_, err := sema.Isolate(s.ctx, s.alice.Service, s.full("a"), fmt.Sprint("worker ", i), func(ctx context.Context, _ sema.Info) (int, error) {
				if n := working.Add(1); n != 1 {
					s.Errorf("%d work at once", n)
				}
				s.bob.looksOn("a")
				working.Add(-1)
				worked.Add(1)
				return 0, context.Cause(ctx)
			}, sema.IsolateOptions{Timeout: long, SleepBetweenAttempts: pause})
			done <- err
		})
	}
	for range workers {
		if err := await(s, "a worker comes back", done); err != nil {
			s.Errorf("Isolate: %v", err)
		}
	}
	if n := worked.Load(); n != workers {
		s.Errorf("%d worked of %d", n, workers)
	}
	s.free("a")
}

// looksOn takes as long as it takes to see who holds.
func (u *user) looksOn(name string) {
	if _, err := u.Get(u.s.ctx, u.s.full(name)); err != nil {
		u.s.Errorf("%s looks who holds %q, which somebody does: %v", u.owner, name, err)
	}
}
