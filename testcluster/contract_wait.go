package testcluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/semanode/sema"
)

// What a [sema.Waiter] keeps besides.

var waitChecks = []check{
	{"a free semaphore is acquired at once", func(s *scene) {
		w := s.bob.waitsWith(s.ctx, "a", long, nil)
		h := w.getsIt("a", long)
		s.stands("a", h)
		s.bob.touches("a", h)
		s.bob.releases("a")
		s.free("a")
	}},
	{"first come, first served", firstCome},
	{"a release hands over to who is next, and nobody comes between", func(s *scene) {
		a := s.alice.takes("a", long)
		w := s.bob.waits("a", long, 1, nil)
		s.alice.releases("a")
		h := s.user("carol").asks("a", long)
		if h.Status != sema.OwnedBySomeoneElse || h.Owner != "bob" || h.Token <= a.Token {
			s.Errorf("alice released, bob is next, and carol who asks is told %v", show(h.Info))
		}
		s.alice.cannotTouch("a")
		b := w.getsIt("a", long)
		if b.Token != h.Token {
			s.Errorf("bob has token %d, and carol was told %d", b.Token, h.Token)
		}
		s.stands("a", b)
	}},
	{"who waits is told the place, and before whom", toldPlaces},
	{"everybody is told how many wait", func(s *scene) {
		h := s.alice.takes("a", long)
		s.bob.waits("a", long, 1, nil)
		w := s.user("carol").waits("a", long, 2, nil)
		for _, u := range []*user{s.alice, s.user("dave")} {
			info, err := u.Get(s.ctx, h.Name)
			if err != nil || info.Waiting != 2 {
				s.Errorf("two wait, and %s is told %v, error %v", u.owner, show(info), err)
			}
		}
		w.leave()
		s.inLine("a", 1)
		s.stands("a", h)
	}},
	{"who leaves gives up the place", func(s *scene) {
		s.alice.takes("a", long)
		b := s.bob.waits("a", long, 1, nil)
		c := s.user("carol").waits("a", long, 2, nil)
		b.leave()
		b.hasLeft("a", context.Canceled)
		s.inLine("a", 1)
		s.alice.releases("a")
		h := c.getsIt("a", long)
		s.stands("a", h)
		s.bob.cannotTouch("a")
		c.releases("a")
		s.free("a")
	}},
	{"whose time is up gives up the place", func(s *scene) {
		h := s.alice.takes("a", long)
		ctx, cancel := context.WithTimeout(s.ctx, short)
		defer cancel()
		w := s.bob.waitsWith(ctx, "a", long, nil)
		w.hasLeft("a", context.DeadlineExceeded)
		s.inLine("a", 0)
		s.stands("a", h)
		s.alice.releases("a")
		s.free("a")
	}},
	{"who leaves while it is handed over has it or has it not", leavesMeanwhile},
	{"an overdue hold goes to who is next, not before its deadline", func(s *scene) {
		h := s.alice.takes("a", 2*short)
		w := s.bob.waits("a", long, 1, nil)
		s.pass(short)
		h = s.alice.touches("a", h)
		b := w.getsIt("a", long)
		h.stood(s, w.ended)
		s.stands("a", b)
		s.alice.cannotTouch("a")
		s.alice.cannotRelease("a")
	}},
	{"nobody has anything after a wait for what is one's own", func(s *scene) {
		h := s.alice.takes("a", long)
		w := s.alice.waits("a", long, 1, nil)
		w.leave()
		w.hasLeft("a", context.Canceled)
		s.stands("a", h)
		s.alice.touches("a", h)
	}},
}

func firstCome(s *scene) {
	last := s.alice.takes("a", long)
	var line []*waiting
	for i, u := range s.users(4) {
		line = append(line, u.waits("a", long, i+1, nil))
	}
	s.alice.releases("a")
	for i, w := range line {
		h := w.getsIt("a", long)
		if h.Token <= last.Token {
			s.Errorf("%s has token %d, and before it was %d", w.owner, h.Token, last.Token)
		}
		for _, later := range line[i+1:] {
			select {
			case <-later.done:
				s.Fatalf("%s came after %s, who holds, and is told %v, error %v", later.owner, w.owner, show(later.h.Info), later.err)
			default:
			}
		}
		s.stands("a", h)
		w.releases("a")
		last = h
	}
	s.free("a")
}

func toldPlaces(s *scene) {
	h := s.alice.takes("a", long)
	var mu sync.Mutex
	var places []sema.Place
	s.bob.waits("a", long, 1, nil)
	c := s.user("carol")
	w := c.waits("a", long, 2, func(p sema.Place) {
		mu.Lock()
		defer mu.Unlock()
		places = append(places, p)
	})
	toldOf := func(position int, holder string) {
		s.Helper()
		s.eventually(fmt.Sprintf("carol is told that she is number %d behind %s", position, holder), func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(places) == 0 {
				return errors.New("she was told nothing")
			}
			if p := places[len(places)-1]; p.Position != position || p.Holder.Owner != holder {
				return fmt.Errorf("she was told number %d, behind %v", p.Position, show(p.Holder))
			}
			return nil
		})
	}
	toldOf(2, "alice")
	mu.Lock()
	first := places[0].Holder
	mu.Unlock()
	s.same("the place", first, h)
	s.alice.releases("a")
	toldOf(1, "bob")
	s.bob.releases("a")
	w.getsIt("a", long)
	c.releases("a")
	for _, p := range places {
		if p.Position < 1 || p.Position > 2 {
			s.Errorf("carol was told that she is number %d", p.Position)
		}
	}
}

// leavesMeanwhile lets somebody leave just as the line moves. It is open what comes
// of it, and what came of it must be told.
func leavesMeanwhile(s *scene) {
	const rounds = 10
	tally := map[bool]int{}
	for i := range rounds {
		name := fmt.Sprint(i)
		s.alice.takes(name, long)
		w := s.bob.waits(name, long, 1, nil)
		s.start(func() {
			<-time.After(time.Duration(i) * time.Millisecond / 4)
			w.leave()
		})
		s.alice.releases(name)
		await(s, "bob's wait ends", w.done)
		tally[w.err == nil]++
		if w.err == nil {
			s.stands(name, w.getsIt(name, long))
			s.bob.releases(name)
		} else {
			w.hasLeft(name, context.Canceled)
		}
		s.free(name)
	}
	s.Logf("bob left while it was handed over to him: he had it %d times of %d", tally[true], rounds)
}
