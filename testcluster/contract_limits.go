package testcluster

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/semanode/sema"
)

// The limits of names, owners and timeouts, on both sides of each edge.

var limitChecks = []check{
	{"names up to the edges", func(s *scene) {
		s.accepts("a", "alice", long) // others may have this one
		s.holds(s.padded("x", sema.MaxNameBytes), "alice", long)
		s.holds(s.padded("é", sema.MaxNameBytes), "alice", long)
		s.holds(s.full(" / \\ \" ' % ? # \u00a0 \u200b \U0001f512 "), "alice", long)
	}},
	{"names beyond the edges", func(s *scene) {
		for what, name := range s.badTexts(sema.MaxNameBytes) {
			s.refuses("name", what, name, "alice", long)
			s.refusesName(what, name)
		}
	}},
	{"owners up to the edges", func(s *scene) {
		s.holds(s.full("short"), "a", long)
		s.holds(s.full("long"), strings.Repeat("x", sema.MaxOwnerBytes), long)
		s.holds(s.full("wide"), strings.Repeat("é", sema.MaxOwnerBytes/2), long)
		s.holds(s.full("odd"), " \\ \" ' % \u200b \U0001f512 ", long)
	}},
	{"owners beyond the edges", func(s *scene) {
		for what, owner := range s.badTexts(sema.MaxOwnerBytes) {
			s.refuses("owner", what, s.full("a"), owner, long)
		}
		s.free("a")
	}},
	{"timeouts up to the edges", func(s *scene) {
		s.holds(s.full("short"), "alice", sema.MinTimeout)
		s.holds(s.full("long"), "alice", sema.MaxTimeout)
		s.holds(s.full("odd"), "alice", sema.MinTimeout+time.Nanosecond)
	}},
	{"timeouts beyond the edges", func(s *scene) {
		for what, timeout := range map[string]time.Duration{
			"none": 0, "a negative one": -time.Second, "a bit too short": sema.MinTimeout - time.Nanosecond,
			"a bit too long": sema.MaxTimeout + time.Nanosecond, "far too long": 1<<63 - 1, "far too negative": -1 << 63,
		} {
			s.refuses("timeout", what, s.full("a"), "alice", timeout)
		}
		s.free("a")
	}},
	{"what is refused changes nothing of a hold", func(s *scene) {
		h := s.alice.takes("a", long)
		s.refuses("owner", "none", s.full("a"), "", long)
		s.refuses("timeout", "none", s.full("a"), "bob", 0)
		s.stands("a", h)
		s.alice.touches("a", h)
		s.alice.releases("a")
		s.free("a")
	}},
}

// padded is a name of exactly so many bytes, with the last of one text repeated.
func (s *scene) padded(with string, bytes int) string {
	name := s.prefix
	name += strings.Repeat(with, (bytes-len(name))/len(with))
	return name + strings.Repeat("x", bytes-len(name))
}

// badTexts are no names, or no owners, and only just.
func (s *scene) badTexts(most int) map[string]string {
	return map[string]string{
		"an empty one":                     "",
		"one that is a byte too long":      s.padded("x", most+1),
		"one that is a letter too long":    s.padded("é", most+2),
		"one of a megabyte":                s.padded("x", 1<<20),
		"one with a line feed":             s.prefix + "a\nb",
		"one with a zero byte":             s.prefix + "a\x00b",
		"one with a delete":                s.prefix + "a\x7fb",
		"one with a C1 control":            s.prefix + "a\u0085b",
		"one that is not UTF-8":            s.prefix + "a\xff",
		"one that ends within a letter":    s.prefix + "a\xc3",
		"one with a surrogate in UTF-8":    s.prefix + "a\xed\xa0\x80",
		"one with an overlong encoding":    s.prefix + "a\xc0\xaf",
		"one that starts with a tabulator": "\t" + s.prefix,
	}
}

// accepts checks that arguments are within the limits, whoever holds.
func (s *scene) accepts(name, owner string, timeout time.Duration) {
	s.Helper()
	info, err := s.alice.Acquire(s.ctx, name, owner, timeout)
	s.alice.noteTaken(info)
	if err != nil || !info.Status.Valid() {
		s.Errorf("acquire of a name of %d bytes for an owner of %d bytes and %v: %v, error %v; want it accepted",
			len(name), len(owner), timeout, show(info), err)
	}
}

// holds checks that arguments are within the limits, and come back as they went.
func (s *scene) holds(name, owner string, timeout time.Duration) {
	s.Helper()
	u := s.userOf(s.alice.Service, owner)
	rest, _ := strings.CutPrefix(name, s.prefix)
	h := u.takes(rest, timeout)
	s.stands(rest, h)
	s.bob.isRefused(rest, h)
	u.touches(rest, h)
	u.releases(rest)
	s.free(rest)
}

// refuses checks that an acquire is refused because of one argument.
func (s *scene) refuses(field, what, name, owner string, timeout time.Duration) {
	s.Helper()
	info, err := s.bob.Acquire(s.ctx, name, owner, timeout)
	s.bob.noteTaken(info)
	s.isInvalid("acquire", field, what, err)
	if w, ok := s.bob.Service.(sema.Waiter); ok {
		ctx, cancel := context.WithTimeout(s.ctx, short)
		defer cancel()
		info, err := w.AcquireWait(ctx, name, owner, timeout, nil)
		s.bob.noteTaken(info)
		s.isInvalid("acquire and wait", field, what, err)
	}
}

// refusesName checks the other methods.
func (s *scene) refusesName(what, name string) {
	s.Helper()
	_, err := s.bob.Touch(s.ctx, name)
	s.isInvalid("touch", "name", what, err)
	s.isInvalid("release", "name", what, s.bob.Release(s.ctx, name))
	_, err = s.bob.Get(s.ctx, name)
	s.isInvalid("get", "name", what, err)
}

func (s *scene) isInvalid(verb, field, what string, err error) {
	s.Helper()
	var invalid *sema.InvalidError
	ok := errors.As(err, &invalid)
	switch {
	case !errors.Is(err, sema.ErrInvalid):
		s.Errorf("%s with %s as the %s: error %v; want sema.ErrInvalid", verb, what, field, err)
	case !ok || invalid.Field != field:
		s.Errorf("%s with %s as the %s: error %v; want a sema.InvalidError of the field %q", verb, what, field, err, field)
	}
}
