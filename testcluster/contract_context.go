package testcluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/semanode/sema"
)

// What becomes of calls whose context ends.

var contextChecks = []check{
	{"ended before, an acquire acquires nothing", func(s *scene) {
		for name, ctx := range s.ended() {
			info, err := s.alice.Acquire(ctx, s.full(name), s.alice.owner, long)
			s.alice.noteTaken(info)
			s.wasEnded("acquire", ctx, err)
			s.pass(near)
			s.free(name)
			s.bob.takes(name, long)
		}
	}},
	{"ended before, a touch moves nothing", func(s *scene) {
		h := s.alice.takes("a", long)
		s.pass(near + pause)
		for _, ctx := range s.ended() {
			_, err := s.alice.Touch(ctx, s.full("a"))
			s.wasEnded("touch", ctx, err)
		}
		s.pass(near)
		s.stands("a", h)
		s.alice.touches("a", h)
	}},
	{"ended before, a release releases nothing", func(s *scene) {
		h := s.alice.takes("a", long)
		for _, ctx := range s.ended() {
			s.wasEnded("release", ctx, s.alice.Release(ctx, s.full("a")))
		}
		s.pass(near)
		s.stands("a", h)
		s.alice.touches("a", h)
		s.alice.releases("a")
		s.free("a")
	}},
	{"ended before, a get gets nothing", func(s *scene) {
		s.alice.takes("a", long)
		for _, ctx := range s.ended() {
			_, err := s.bob.Get(ctx, s.full("a"))
			s.wasEnded("get", ctx, err)
		}
	}},
	{"ended before, a wait leaves no place in line", func(s *scene) {
		h := s.alice.takes("a", long)
		for _, ctx := range s.ended() {
			w := s.bob.waitsWith(ctx, "a", long, nil)
			await(s, "bob's wait ends with its context", w.done)
			s.wasEnded("wait", ctx, w.err)
		}
		s.pass(near)
		s.inLine("a", 0)
		s.stands("a", h)
		s.alice.releases("a")
		s.free("a")
	}},
	{"ended during an acquire, a release ends what may be left", func(s *scene) { endedDuring(s, false) }},
	{"ended during an acquire, the same acquire goes on with it", func(s *scene) { endedDuring(s, true) }},
}

// ended returns contexts that have ended in either way.
func (s *scene) ended() map[string]context.Context {
	cancelled, cancel := context.WithCancel(s.ctx)
	cancel()
	late, cancel := context.WithDeadline(s.ctx, time.Now().Add(-time.Second))
	cancel()
	return map[string]context.Context{"cancelled": cancelled, "late": late}
}

// wasEnded checks the error of a call whose context had ended before.
func (s *scene) wasEnded(verb string, ctx context.Context, err error) {
	s.Helper()
	switch {
	case !errors.Is(err, ctx.Err()):
		s.Errorf("%s with a context that had ended before: error %v; want %v", verb, err, ctx.Err())
	case errors.Is(err, sema.ErrOutcomeUnknown):
		s.Errorf("%s with a context that had ended before: error %v; but it is known that nothing was done", verb, err)
	}
}

// endedDuring lets the contexts of acquires end at many moments of their way. What is
// unknown then is settled by the same acquire made again, or by a release.
func endedDuring(s *scene, again bool) {
	const moments = 20
	began := time.Now()
	s.alice.takes("a", long)
	once := time.Since(began)
	var known, names []string
	unknown := 0
	for i := range moments + 1 {
		name := fmt.Sprint("during ", i)
		names = append(names, name)
		ctx, cancel := context.WithTimeout(s.ctx, once*time.Duration(i)*2/moments)
		info, err := s.alice.Acquire(ctx, s.full(name), s.alice.owner, long)
		s.alice.noteTaken(info)
		switch {
		case err == nil && info.Status == sema.Acquired:
		case err == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()):
			s.Errorf("acquire whose context ends meanwhile: %v, error %v; want it acquired, or an error that matches %v", show(info), err, ctx.Err())
		case errors.Is(err, sema.ErrOutcomeUnknown):
			unknown++
		default:
			known = append(known, name)
		}
		cancel()
		switch {
		case slices.Contains(known, name):
			continue
		case again && err != nil:
			s.alice.takes(name, long) // it goes on with the attempt
		}
		s.alice.releases(name)
	}
	s.pass(near)
	for _, name := range names {
		s.free(name)
	}
	for _, name := range known {
		s.bob.takes(name, long)
	}
	s.Logf("of %d acquires whose context ended up to %v after their start, %d failed and %d had an unknown outcome",
		len(names), 2*once, len(known), unknown)
}
