package testcluster

import (
	"errors"
	"fmt"

	"github.com/semanode/sema"
)

// What becomes of a hold whose deadline has passed.

var overdueChecks = []check{
	{"whoever asks for it ends it, and has to ask again", func(s *scene) {
		h := s.alice.takes("a", sema.MinTimeout)
		s.bob.forces("a", h)
		s.free("a")
		s.bob.cannotTouch("a")
		b := s.bob.takes("a", long)
		if b.Token <= h.Token {
			s.Errorf("token %d after %d", b.Token, h.Token)
		}
		s.alice.isRefused("a", b)
	}},
	{"once ended, anybody may have it", func(s *scene) {
		h := s.alice.takes("a", sema.MinTimeout)
		s.bob.forces("a", h)
		s.user("carol").takes("a", long)
	}},
	{"its holder asks for it too", func(s *scene) {
		h := s.alice.takes("a", sema.MinTimeout)
		s.alice.forces("a", h)
		s.alice.cannotTouch("a")
		s.free("a")
		s.alice.takes("a", long)
	}},
	{"its holder has lost it when it was ended", func(s *scene) {
		h := s.alice.takes("a", sema.MinTimeout)
		s.bob.forces("a", h)
		s.alice.cannotTouch("a")
		s.alice.releases("a") // free already
		b := s.bob.takes("a", long)
		s.alice.cannotTouch("a")
		s.alice.cannotRelease("a")
		s.stands("a", b)
	}},
	{"its holder does not free it for whoever has taken it", func(s *scene) {
		h := s.alice.takes("a", sema.MinTimeout)
		s.bob.forces("a", h)
		b := s.bob.takes("a", long)
		s.alice.cannotRelease("a") // and has not been told by anything before
		s.stands("a", b)
		s.bob.touches("a", b)
	}},
	{"it stands until somebody asks for it", func(s *scene) {
		h := s.alice.takes("a", sema.MinTimeout)
		s.pass(h.Timeout + near + pause)
		s.stands("a", h)
		h = s.alice.touches("a", h)
		s.bob.isRefused("a", h)
	}},
	{"its holder releases it, late and in peace", func(s *scene) {
		h := s.alice.takes("a", sema.MinTimeout)
		s.pass(h.Timeout + pause)
		s.alice.releases("a")
		s.free("a")
		s.bob.takes("a", long)
	}},
	{"many who ask for it at once end it once", endedOnce},
	{"whoever asks while it is released is told what it came to", releasedMeanwhile},
}

func endedOnce(s *scene) {
	all := s.users(6)
	h := s.alice.takes("a", sema.MinTimeout)
	s.pass(h.Timeout + near)
	forced, acquired, meanwhile := 0, 0, 0
	for i, a := range everyone(s, all, "a") {
		switch a.Status {
		case sema.ForcedReleased:
			forced++
			s.same("the forced release", a.Info, h)
		case sema.Acquired:
			acquired++
		case sema.ReleasedInTheMeanTime:
			meanwhile++
		case sema.OwnedBySomeoneElse:
		default:
			s.Errorf("%s is told %v", all[i].owner, show(a.Info))
		}
	}
	if forced != 1 || acquired > 1 {
		s.Errorf("%d were told that they ended it, and %d that they have it; want 1, and 1 at most", forced, acquired)
	}
	s.Logf("%d were told RELEASED_IN_THE_MEAN_TIME", meanwhile)
}

// releasedMeanwhile is the race that [sema.ReleasedInTheMeanTime] comes from. Who wins
// it is open, and who was told what must fit.
func releasedMeanwhile(s *scene) {
	tally := map[sema.Status]int{}
	for i := range 5 {
		name := fmt.Sprint(i)
		h := s.alice.takes(name, sema.MinTimeout)
		s.pass(h.Timeout + near)
		released := make(chan error, 1)
		s.start(func() { released <- s.alice.Release(s.ctx, s.full(name)) })
		b := s.bob.asks(name, long)
		err := await(s, "the release", released)
		tally[b.Status]++
		switch b.Status {
		case sema.Acquired:
			if err != nil && !errors.Is(err, sema.ErrNotHeld) {
				s.Errorf("alice releases her overdue hold, and bob has it now: %v", err)
			}
			s.stands(name, b)
		case sema.ForcedReleased, sema.ReleasedInTheMeanTime:
			if err != nil {
				s.Errorf("alice releases her overdue hold while bob is told %v: %v", b.Status, err)
			}
			if b.Status == sema.ForcedReleased {
				s.same("the forced release", b.Info, h)
			}
			s.free(name)
		default:
			s.Errorf("bob asks for an overdue hold while it is released: %v", show(b.Info))
		}
	}
	s.Logf("bob was told: %v", tally)
}
