package testcluster

import (
	"sync"
	"time"

	"github.com/semanode/sema"
)

// What a touch does, and to whose hold.

var touchChecks = []check{
	{"it moves the deadline to a full timeout from now", func(s *scene) {
		h := s.alice.takes("a", short)
		s.pass(short / 2)
		touched := s.alice.touches("a", h)
		if moved := touched.ExpiresAt.Sub(h.ExpiresAt); moved < short/2-near || touched.UpdatedAt.Sub(h.UpdatedAt) < short/2-near {
			s.Errorf("touched %v later, the deadline moved by %v\nfrom %v\nto   %v", short/2, moved, show(h.Info), show(touched.Info))
		}
		s.stands("a", touched)
		s.bob.forces("a", touched)
	}},
	{"touched again and again it stands for many timeouts", func(s *scene) {
		h := s.alice.takes("a", short)
		for range 4 {
			s.pass(short / 2)
			h = s.alice.touches("a", h)
			s.bob.isRefused("a", h)
		}
		s.bob.forces("a", h)
	}},
	{"it never moves the deadline back", func(s *scene) {
		h := s.alice.takes("a", long)
		latest := h
		for range 20 {
			latest = s.alice.touches("a", latest)
		}
		s.stands("a", latest)
	}},
	{"many at once leave the latest deadline", touchedAtOnce},
	{"late, it saves an overdue hold that nobody has taken", func(s *scene) {
		h := s.alice.takes("a", short)
		s.pass(h.Timeout + near + pause)
		touched := s.alice.touches("a", h)
		if !touched.ExpiresAt.After(h.ExpiresAt) {
			s.Errorf("touched after its deadline, it has a deadline at %v; before, at %v", touched.ExpiresAt, h.ExpiresAt)
		}
		s.stands("a", touched)
		s.bob.forces("a", touched)
	}},
	{"somebody else's hold is not held", func(s *scene) {
		h := s.alice.takes("a", long)
		s.pass(near + pause)
		s.bob.cannotTouch("a")
		s.stands("a", h)
	}},
	{"nobody's hold is not held", func(s *scene) {
		s.alice.cannotTouch("a")
		s.free("a")
	}},
	{"one that was released is not held any more", func(s *scene) {
		s.alice.takes("a", long)
		s.alice.releases("a")
		s.alice.cannotTouch("a")
		s.free("a")
		b := s.bob.takes("a", long)
		s.alice.cannotTouch("a")
		s.stands("a", b)
	}},
}

func touchedAtOnce(s *scene) {
	h := s.alice.takes("a", long)
	s.pass(near + pause)
	var touching sync.WaitGroup
	var mu sync.Mutex
	latest := time.Time{}
	for range 8 {
		touching.Add(1)
		s.start(func() {
			defer touching.Done()
			info, err := s.alice.Touch(s.ctx, s.full("a"))
			if err != nil || info.Status != sema.Acquired || info.Token != h.Token {
				s.Errorf("alice touches beside herself: %v, error %v", show(info), err)
			}
			mu.Lock()
			defer mu.Unlock()
			if info.ExpiresAt.After(latest) {
				latest = info.ExpiresAt
			}
		})
	}
	touching.Wait()
	info, err := s.bob.Get(s.ctx, s.full("a"))
	if err != nil || info.ExpiresAt.Before(latest.Add(-near)) || !info.ExpiresAt.After(h.ExpiresAt) {
		s.Errorf("a touch told of a deadline at %v, and then it is %v, error %v", latest, show(info), err)
	}
}
