package testcluster_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster"
)

// fake is a lock service in memory as somebody may write one for unit tests: it can
// neither wait nor be forked, and has one flaw at most.
type fake struct {
	flaw flaw

	mu    sync.Mutex
	last  uint64
	holds map[string]sema.Info
}

// fakeUser is one user of a fake. Its tokens are guarded by the fake's mu.
type fakeUser struct {
	*fake
	tokens map[string]uint64
}

func newFake(flaw flaw) *fake { return &fake{flaw: flaw, holds: map[string]sema.Info{}} }

func (f *fake) newUser() sema.Service { return &fakeUser{fake: f, tokens: map[string]uint64{}} }

// enter begins a call. leave ends it.
func (u *fakeUser) enter(ctx context.Context, name string) (leave func(), err error) {
	if u.flaw != "names are whatever one likes" {
		if err := sema.ValidateName(name); err != nil {
			return nil, err
		}
	}
	if u.flaw != "contexts are of no concern" && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	u.mu.Lock()
	return u.mu.Unlock, nil
}

// Acquire implements [sema.Service].
func (u *fakeUser) Acquire(ctx context.Context, name, owner string, timeout time.Duration) (sema.Info, error) {
	if err := u.validate(name, owner, timeout); err != nil {
		return sema.Info{}, err
	}
	leave, err := u.enter(ctx, name)
	if err != nil {
		return sema.Info{}, err
	}
	defer leave()
	key := name
	if u.flaw == "all names are one" {
		key = ""
	}
	h, held := u.holds[key]
	late := held && !time.Now().Before(h.ExpiresAt)
	switch {
	case !held, u.flaw == "an acquire steals", u.flaw == "a late hold is there for the taking" && late:
	case u.flaw == "an owner enters again" && h.Owner == owner:
		u.tokens[name] = h.Token
		return h, nil
	case late && u.flaw == "a late hold stands for good":
		h.Status = sema.OwnedBySomeoneElse
		return h, nil
	case late, u.flaw == "holds end early" && time.Until(h.ExpiresAt) < 50*time.Millisecond:
		if u.flaw != "who was forced stays in the way" {
			delete(u.holds, key)
		}
		h.Status = sema.ForcedReleased
		if u.flaw == "the forced are not named" {
			h = sema.Info{Status: h.Status, Name: name}
		}
		return h, nil
	default:
		h.Status = sema.OwnedBySomeoneElse
		if u.flaw == "nobody is told who holds" {
			h.Owner = ""
		}
		return h, nil
	}
	return u.grant(key, name, owner, timeout), nil
}

func (u *fakeUser) validate(name, owner string, timeout time.Duration) error {
	err := sema.Validate(name, owner, timeout)
	switch u.flaw {
	case "names are whatever one likes":
		return sema.Validate("any", owner, timeout)
	case "owners are whatever one likes":
		return sema.Validate(name, "anybody", timeout)
	case "timeouts are whatever one likes":
		return sema.Validate(name, owner, time.Minute)
	case "names are short":
		if len(name) > 100 {
			return sema.ErrInvalid
		}
	case "owners are short":
		if len(owner) > 100 {
			return sema.ErrInvalid
		}
	case "timeouts are whole seconds":
		if timeout%time.Second != 0 {
			return sema.ErrInvalid
		}
	case "nobody is told what is invalid":
		if err != nil {
			return sema.ErrInvalid
		}
	}
	return err
}

func (u *fakeUser) grant(key, name, owner string, timeout time.Duration) sema.Info {
	u.last++
	token := u.last
	switch u.flaw {
	case "tokens start anew with each name":
		token = 1
	case "tokens fall":
		token = 1_000_000 - u.last
	}
	now := time.Now().UTC()
	h := sema.Info{Status: sema.Acquired, Name: name, Owner: owner, Timeout: timeout, Token: token,
		CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(timeout)}
	if u.flaw == "times are local" {
		h.CreatedAt = h.CreatedAt.In(time.FixedZone("there", 3600))
	}
	u.holds[key], u.tokens[name] = h, token
	if u.flaw == "an acquire is forgotten" {
		delete(u.holds, key)
	}
	return h
}

// Touch implements [sema.Service].
func (u *fakeUser) Touch(ctx context.Context, name string) (sema.Info, error) {
	leave, err := u.enter(ctx, name)
	if err != nil {
		return sema.Info{}, err
	}
	defer leave()
	h, held := u.holds[name]
	mine := held && h.Token == u.tokens[name]
	now := time.Now().UTC()
	switch {
	case u.flaw == "a touch takes what is free" && !held:
		return u.grant(name, name, "nobody", time.Minute), nil
	case u.flaw == "anybody touches" && held:
	case u.flaw == "a touch never says no" && !mine:
		return sema.Info{Status: sema.Acquired, Name: name, Token: u.tokens[name]}, nil
	case !mine, u.flaw == "a late touch comes too late" && now.After(h.ExpiresAt):
		return sema.Info{}, sema.ErrNotHeld
	}
	h.UpdatedAt, h.ExpiresAt = now, now.Add(h.Timeout)
	switch u.flaw {
	case "a touch shortens":
		h.ExpiresAt = now.Add(h.Timeout / 2)
	case "a touch is only said to have been":
		return h, nil
	case "a touch is a new hold":
		h.CreatedAt = now
	}
	u.holds[name] = h
	return h, nil
}

// Release implements [sema.Service].
func (u *fakeUser) Release(ctx context.Context, name string) error {
	leave, err := u.enter(ctx, name)
	if err != nil {
		return err
	}
	defer leave()
	h, held := u.holds[name]
	switch {
	case u.flaw == "a release frees anybody's":
	case !held && u.flaw == "a release of nothing fails":
		return sema.ErrNotFound
	case held && h.Token != u.tokens[name] && u.flaw == "a release of another's is no error":
		return nil
	case held && h.Token != u.tokens[name]:
		return sema.ErrNotHeld
	case u.flaw == "a release frees nothing":
		return nil
	}
	delete(u.holds, name)
	return nil
}

// Get implements [sema.Service].
func (u *fakeUser) Get(ctx context.Context, name string) (sema.Info, error) {
	leave, err := u.enter(ctx, name)
	if err != nil {
		return sema.Info{}, err
	}
	defer leave()
	h, held := u.holds[name]
	switch {
	case !held && u.flaw == "a get invents":
		return sema.Info{Status: sema.OwnedBySomeoneElse, Name: name, Owner: "nobody"}, nil
	case !held, u.flaw == "a get does not see what is late" && time.Now().After(h.ExpiresAt):
		return sema.Info{}, sema.ErrNotFound
	case h.Token != u.tokens[name] && u.flaw != "a get calls everything one's own":
		h.Status = sema.OwnedBySomeoneElse
	}
	return h, nil
}

// Outside a bubble the checks take their time, all at once.
func TestContractOfAFakeInRealTime(t *testing.T) {
	t.Parallel()
	testcluster.TestService(t, func(t *testing.T, check testcluster.Check) {
		check(t, newFake("").newUser)
	})
}
