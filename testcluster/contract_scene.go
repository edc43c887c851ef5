package testcluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
)

// scene is where a story of the contract takes place: semaphores that nobody else
// uses, and the users Alice and Bob.
type scene struct {
	testing.TB
	ctx        context.Context // ends long after any story
	open       func() sema.Service
	prefix     string
	alice, bob *user

	running sync.WaitGroup // what the story started
	mu      sync.Mutex
	taken   []claim
}

// claim is what may have to be given back.
type claim struct {
	by   *user
	name string
}

const (
	// longest is how long a story may last, and anything in it.
	longest = 5 * time.Minute
	// long is the timeout of holds that do not end while a story lasts.
	long = 10 * time.Minute
	// short is the timeout of holds that do.
	short = 3 * sema.MinTimeout
	// near is how far apart times for people may be that are the same: the wall
	// clock and the time of deadlines do not run quite alike.
	near = 100 * time.Millisecond
	// pause is how long to wait until what was done is seen, and between two looks.
	pause = 20 * time.Millisecond
)

// play plays a story.
func play(tb testing.TB, open func() sema.Service, story func(*scene)) {
	ctx, cancel := context.WithTimeout(tb.Context(), longest)
	s := &scene{TB: tb, ctx: ctx, open: open, prefix: fmt.Sprintf("contract/%016x/", rand.Uint64())}
	defer func() { // also if the story fails
		cancel()
		s.running.Wait()
		s.tidy()
	}()
	s.alice, s.bob = s.user("alice"), s.user("bob")
	story(s)
}

// tidy releases what was taken. Whoever tests a Service that lives on finds it as it
// was.
func (s *scene) tidy() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 10*time.Second)
	defer cancel()
	for _, c := range s.taken {
		_ = c.by.Service.Release(ctx, c.name)
	}
}

// user lets one more user come in.
func (s *scene) user(owner string) *user { return s.userOf(s.open(), owner) }

func (s *scene) userOf(svc sema.Service, owner string) *user {
	return &user{Service: svc, s: s, owner: owner}
}

// users lets so many come in.
func (s *scene) users(n int) []*user {
	all := make([]*user, n)
	for i := range all {
		all[i] = s.user(fmt.Sprintf("user %d", i+1))
	}
	return all
}

// full is the whole name of a semaphore.
func (s *scene) full(name string) string { return s.prefix + name }

// start runs part of the story beside the rest of it. It must end with s.ctx and
// not end the test.
func (s *scene) start(part func()) { s.running.Go(part) }

// pass lets time pass.
func (s *scene) pass(d time.Duration) {
	s.Helper()
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
		s.Fatalf("the story took longer than %v", longest)
	}
}

// eventually waits for what a Service need not do at once.
func (s *scene) eventually(what string, look func() error) {
	s.Helper()
	const limit = 10 * time.Second
	began := time.Now()
	for {
		err := look()
		if err == nil {
			return
		}
		if time.Since(began) > limit {
			s.Fatalf("waited %v for %q in vain: %v", limit, what, err)
		}
		s.pass(pause)
	}
}

// await returns what comes out of a channel, and fails if nothing does.
func await[T any](s *scene, what string, from <-chan T) T {
	s.Helper()
	const limit = 30 * time.Second
	select {
	case v := <-from:
		return v
	case <-time.After(limit):
		s.Fatalf("waited %v for %q in vain", limit, what)
	}
	panic("not reached")
}

// free checks that nobody holds a semaphore.
func (s *scene) free(name string) {
	s.Helper()
	if info, err := s.bob.Get(s.ctx, s.full(name)); !errors.Is(err, sema.ErrNotFound) {
		s.Errorf("nobody holds %.40q, and get says %v, error %v; want sema.ErrNotFound", name, show(info), err)
	}
}

// stands checks that a hold stands as it was last heard of.
func (s *scene) stands(name string, h hold) {
	s.Helper()
	info, err := s.bob.Get(s.ctx, s.full(name))
	if err != nil {
		s.Fatalf("%s holds %.40q, and get says: %v", h.Owner, name, err)
	}
	s.same("get", info, h)
}

// same checks that an Info is about a hold as it was last heard of.
func (s *scene) same(who string, info sema.Info, h hold) {
	s.Helper()
	switch {
	case info.Name != h.Name, info.Owner != h.Owner, info.Timeout != h.Timeout, info.Token != h.Token,
		!isNear(info.CreatedAt, h.CreatedAt), !isNear(info.UpdatedAt, h.UpdatedAt), !isNear(info.ExpiresAt, h.ExpiresAt):
		s.Errorf("%s says %v\nof the hold     %v", who, show(info), show(h.Info))
	}
	s.inUTC(who, info)
}

// inUTC checks the times of an Info.
func (s *scene) inUTC(who string, info sema.Info) {
	s.Helper()
	for what, t := range map[string]time.Time{"CreatedAt": info.CreatedAt, "UpdatedAt": info.UpdatedAt, "ExpiresAt": info.ExpiresAt} {
		if t.IsZero() || t.Location() != time.UTC {
			s.Errorf("%s: %s is %v; want a time in UTC", who, what, t)
		}
	}
	if !isNear(info.UpdatedAt.Add(info.Timeout), info.ExpiresAt) {
		s.Errorf("%s: UpdatedAt %v and Timeout %v do not make ExpiresAt %v", who, info.UpdatedAt, info.Timeout, info.ExpiresAt)
	}
}

func isNear(a, b time.Time) bool { return a.Sub(b).Abs() <= near }

// show is an Info in one line.
func show(info sema.Info) string {
	const clock = "15:04:05.000"
	return fmt.Sprintf("{%v %.40q owner %.40q timeout %v token %d created %s updated %s expires %s waiting %d}",
		info.Status, info.Name, info.Owner, info.Timeout, info.Token, info.CreatedAt.Format(clock),
		info.UpdatedAt.Format(clock), info.ExpiresAt.Format(clock), info.Waiting)
}
