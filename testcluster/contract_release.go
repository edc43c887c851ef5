package testcluster

import "github.com/semanode/sema"

// What a release and a get do, and to whose hold.

var releaseChecks = []check{
	{"it frees the semaphore", func(s *scene) {
		h := s.alice.takes("a", long)
		s.alice.releases("a")
		s.free("a")
		b := s.bob.takes("a", long)
		if b.Token <= h.Token {
			s.Errorf("token %d after %d", b.Token, h.Token)
		}
	}},
	{"of a free one is no error", func(s *scene) {
		s.alice.releases("a")
		s.alice.takes("a", long)
		s.alice.releases("a")
		s.alice.releases("a")
		s.bob.releases("a")
		s.free("a")
	}},
	{"of somebody else's hold is refused and changes nothing", func(s *scene) {
		h := s.alice.takes("a", long)
		s.bob.cannotRelease("a")
		s.stands("a", h)
		s.bob.isRefused("a", h)
		s.bob.cannotRelease("a")
		s.alice.touches("a", h)
		s.alice.releases("a")
		s.free("a")
	}},
	{"who released once does not free the next holder's", func(s *scene) {
		s.alice.takes("a", long)
		s.alice.releases("a")
		b := s.bob.takes("a", long)
		s.alice.cannotRelease("a")
		s.stands("a", b)
	}},
}

var getChecks = []check{
	{"it tells the holder and everybody else", func(s *scene) {
		h := s.alice.takes("a", long)
		s.alice.sees("a", sema.Acquired, h)
		s.bob.sees("a", sema.OwnedBySomeoneElse, h)
		s.pass(near + pause)
		h = s.alice.touches("a", h)
		s.alice.sees("a", sema.Acquired, h)
		s.bob.sees("a", sema.OwnedBySomeoneElse, h)
	}},
	{"of what nobody holds is not found", func(s *scene) {
		s.free("never")
		h := s.alice.takes("a", long)
		s.alice.releases("a")
		s.free("a")
		b := s.bob.takes("a", long)
		s.alice.sees("a", sema.OwnedBySomeoneElse, b)
		if b.Token == h.Token {
			s.Errorf("two holds with token %d", b.Token)
		}
	}},
}
