package testcluster

import (
	"errors"
	"time"

	"github.com/semanode/sema"
)

// user is somebody in a story, who speaks through a Service of his or her own. What
// users do fails the test if it does not come out as the verb says.
type user struct {
	sema.Service
	s     *scene
	owner string
}

// hold is what a user was granted.
type hold struct {
	sema.Info
	sent time.Time // before it was asked for, or touched
}

// stood checks that a hold stood until it could have ended at the earliest.
func (h hold) stood(s *scene, ended time.Time) {
	s.Helper()
	if stood := ended.Sub(h.sent); stood < h.Timeout-sema.DriftMargin(h.Timeout) {
		s.Errorf("the hold of %s was ended %v after it was asked for or touched last; it was to stand for %v", h.Owner, stood, h.Timeout)
	}
}

// asks acquires, whatever the answer is.
func (u *user) asks(name string, timeout time.Duration) hold {
	u.s.Helper()
	sent := time.Now()
	info, err := u.Acquire(u.s.ctx, u.s.full(name), u.owner, timeout)
	if err != nil {
		u.s.Fatalf("%s acquires %.40q: %v", u.owner, name, err)
	}
	u.noteTaken(info)
	return hold{info, sent}
}

// noteTaken remembers what is to be given back.
func (u *user) noteTaken(info sema.Info) {
	if info.Status == sema.Acquired {
		u.s.mu.Lock()
		defer u.s.mu.Unlock()
		u.s.taken = append(u.s.taken, claim{u, info.Name})
	}
}

// takes acquires a semaphore that is free.
func (u *user) takes(name string, timeout time.Duration) hold {
	u.s.Helper()
	h := u.asks(name, timeout)
	if h.Status != sema.Acquired {
		u.s.Fatalf("%s acquires %.40q, which is free: %v", u.owner, name, show(h.Info))
	}
	u.s.isGrant(u, name, timeout, h.Info)
	return h
}

// isGrant checks the answer to an acquire that succeeded.
func (s *scene) isGrant(u *user, name string, timeout time.Duration, info sema.Info) {
	s.Helper()
	if info.Name != s.full(name) || info.Owner != u.owner || info.Timeout != timeout || info.Token == 0 {
		s.Errorf("%s acquires %.40q for %v, and is told %v", u.owner, name, timeout, show(info))
	}
	if !isNear(info.CreatedAt, info.UpdatedAt) {
		s.Errorf("%s acquires %.40q: it was created at %v and updated at %v", u.owner, name, info.CreatedAt, info.UpdatedAt)
	}
	if off := time.Since(info.CreatedAt).Abs(); off > time.Hour {
		s.Errorf("%s acquires %.40q: it was created at %v, which is %v from now", u.owner, name, info.CreatedAt, off)
	}
	s.inUTC(u.owner+" acquires", info)
}

// isRefused acquires what somebody else holds.
func (u *user) isRefused(name string, by hold) {
	u.s.Helper()
	h := u.asks(name, long)
	switch {
	case h.Status == sema.OwnedBySomeoneElse:
	case h.Status == sema.ForcedReleased && time.Since(by.sent) > by.Timeout:
		u.s.Skipf("the hold of %s for %v was overdue before anybody could look: the machine is too busy for this", by.Owner, by.Timeout)
	default:
		u.s.Fatalf("%s acquires %.40q, which %s holds: %v", u.owner, name, by.Owner, show(h.Info))
	}
	u.s.same("the refusal", h.Info, by)
}

// forces asks for a semaphore until its hold, which nobody touches any more, was
// ended by that, and checks that this came neither too early nor in another way.
func (u *user) forces(name string, overdue hold) {
	u.s.Helper()
	u.s.eventually("the hold is overdue", func() error {
		h := u.asks(name, long)
		switch h.Status {
		case sema.OwnedBySomeoneElse:
			return errors.New(show(h.Info))
		case sema.ForcedReleased:
			overdue.stood(u.s, time.Now())
			u.s.same("the forced release", h.Info, overdue)
		default:
			u.s.Fatalf("%s asks for the overdue hold of %s: %v; want FORCED_RELEASED", u.owner, overdue.Owner, show(h.Info))
		}
		return nil
	})
}

// touches touches a hold.
func (u *user) touches(name string, h hold) hold {
	u.s.Helper()
	sent := time.Now()
	info, err := u.Touch(u.s.ctx, u.s.full(name))
	if err != nil {
		u.s.Fatalf("%s touches %.40q: %v", u.owner, name, err)
	}
	if info.Status != sema.Acquired || info.Name != h.Name || info.Owner != h.Owner || info.Timeout != h.Timeout || info.Token != h.Token {
		u.s.Errorf("%s touches the hold %v\nand is told     %v", u.owner, show(h.Info), show(info))
	}
	if !isNear(info.CreatedAt, h.CreatedAt) {
		u.s.Errorf("%s touches %.40q, which was created at %v, and now at %v", u.owner, name, h.CreatedAt, info.CreatedAt)
	}
	if info.UpdatedAt.Before(h.UpdatedAt.Add(-near)) || info.ExpiresAt.Before(h.ExpiresAt.Add(-near)) {
		u.s.Errorf("%s touches %.40q, and its times go back\nfrom %v\nto   %v", u.owner, name, show(h.Info), show(info))
	}
	u.s.inUTC(u.owner+" touches", info)
	return hold{info, sent}
}

// cannotTouch touches what is not, or no longer, the user's.
func (u *user) cannotTouch(name string) {
	u.s.Helper()
	if info, err := u.Touch(u.s.ctx, u.s.full(name)); !errors.Is(err, sema.ErrNotHeld) {
		u.s.Errorf("%s touches %.40q and does not hold it: %v, error %v; want sema.ErrNotHeld", u.owner, name, show(info), err)
	}
}

// releases releases what is the user's, or free.
func (u *user) releases(name string) {
	u.s.Helper()
	if err := u.Release(u.s.ctx, u.s.full(name)); err != nil {
		u.s.Fatalf("%s releases %.40q: %v", u.owner, name, err)
	}
}

// cannotRelease releases what somebody else holds.
func (u *user) cannotRelease(name string) {
	u.s.Helper()
	if err := u.Release(u.s.ctx, u.s.full(name)); !errors.Is(err, sema.ErrNotHeld) {
		u.s.Errorf("%s releases %.40q, which somebody else holds: %v; want sema.ErrNotHeld", u.owner, name, err)
	}
}

// sees checks what get tells the user: Acquired of the user's own hold,
// OwnedBySomeoneElse of another's.
func (u *user) sees(name string, status sema.Status, h hold) {
	u.s.Helper()
	info, err := u.Get(u.s.ctx, u.s.full(name))
	if err != nil {
		u.s.Fatalf("%s holds %.40q, and %s is told: %v", h.Owner, name, u.owner, err)
	}
	u.s.same("get", info, h)
	if info.Status != status {
		u.s.Errorf("%s gets the hold of %s: status %v; want %v", u.owner, h.Owner, info.Status, status)
	}
}
