package testcluster

import (
	"fmt"
	"sync"

	"github.com/semanode/sema"
)

// What becomes of an acquire.

var acquireChecks = []check{
	{"a free semaphore is acquired", func(s *scene) {
		h := s.alice.takes("a", long)
		s.stands("a", h)
	}},
	{"a held one is refused, with who, since when and until when", func(s *scene) {
		h := s.alice.takes("a", long)
		s.pass(near + pause)
		s.bob.isRefused("a", h)
		s.bob.isRefused("a", h)
		s.stands("a", h)
		s.alice.sees("a", sema.Acquired, h)
	}},
	{"the same owner is somebody else the second time", func(s *scene) {
		h := s.alice.takes("a", long)
		twin := s.user(s.alice.owner)
		twin.isRefused("a", h)
		s.alice.isRefused("a", h)
		twin.cannotTouch("a")
		twin.cannotRelease("a")
		h = s.alice.touches("a", h)
		s.stands("a", h)
	}},
	{"one semaphore is not another", func(s *scene) {
		s.alice.takes("a", long)
		b := s.bob.takes("b", long)
		s.bob.takes("A", long)
		s.alice.releases("a")
		s.stands("b", b)
	}},
	{"one user holds many", func(s *scene) {
		var holds []hold
		for i := range 5 {
			holds = append(holds, s.alice.takes(fmt.Sprint(i), long))
		}
		s.alice.releases("0")
		for i, h := range holds[1:] {
			s.alice.touches(fmt.Sprint(i+1), h)
		}
	}},
	{"tokens rise over names and holds", func(s *scene) {
		last := uint64(0)
		for i := range 4 {
			for j, u := range []*user{s.alice, s.bob} {
				own := fmt.Sprintf("%d of %s", i, u.owner)
				for _, name := range []string{own, "shared", fmt.Sprint("a", 3-i, j)} {
					h := u.takes(name, long)
					if h.Token <= last {
						s.Errorf("%s acquires %q with token %d after somebody had %d", u.owner, name, h.Token, last)
					}
					last = h.Token
				}
				u.releases("shared")
				u.releases(own)
			}
		}
	}},
	{"of many at once one wins, and all others are told who", manyAtOnce},
}

func manyAtOnce(s *scene) {
	all, last := s.users(6), uint64(0)
	for round := range 4 {
		answers := everyone(s, all, "a")
		won := -1
		for i, h := range answers {
			switch {
			case h.Status == sema.Acquired && won >= 0:
				s.Fatalf("round %d: both %s and %s acquired it", round, all[won].owner, all[i].owner)
			case h.Status == sema.Acquired:
				won = i
			}
		}
		if won < 0 {
			s.Fatalf("round %d: nobody acquired it: %v", round, show(answers[0].Info))
		}
		winner := answers[won]
		for i, h := range answers {
			if i == won {
				continue
			}
			if h.Status != sema.OwnedBySomeoneElse {
				s.Errorf("%s, who lost, is told %v", all[i].owner, show(h.Info))
			}
			s.same("the refusal", h.Info, winner)
		}
		if winner.Token <= last {
			s.Errorf("round %d: token %d after %d", round, winner.Token, last)
		}
		last = winner.Token
		all[won].releases("a")
	}
}

// everyone acquires the same semaphore at once.
func everyone(s *scene, all []*user, name string) []hold {
	s.Helper()
	answers, errs := make([]hold, len(all)), make([]error, len(all))
	var asking sync.WaitGroup
	for i, u := range all {
		asking.Add(1)
		s.start(func() {
			defer asking.Done()
			answers[i].Info, errs[i] = u.Acquire(s.ctx, s.full(name), u.owner, long)
			u.noteTaken(answers[i].Info)
		})
	}
	asking.Wait()
	for i, err := range errs {
		if err != nil {
			s.Fatalf("%s acquires %q beside others: %v", all[i].owner, name, err)
		}
	}
	return answers
}
