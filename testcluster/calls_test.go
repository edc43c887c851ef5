package testcluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/semanode/sema"
)

const s = "a semaphore"

// harmed is a client in virtual time to whose calls something happens, every time,
// and another that sees what came of it.
type harmed struct {
	t       *testing.T
	c       *Cluster
	cl      *Client
	witness *Client
	harm    *callHarm
	lift    func()
}

func withHarm(t *testing.T, harm *callHarm, test func(t *testing.T, h *harmed)) {
	t.Helper()
	t.Parallel()
	harm.chance = 1
	Run(t, Options{ElectionTimeout: 2 * time.Second}, func(t *testing.T, c *Cluster) {
		h := &harmed{t: t, c: c, cl: c.Client(), witness: c.Client(), harm: harm}
		c.Leader()
		h.lift = h.cl.calls.impose(harm)
		test(t, h)
	})
}

// holder returns the token of the hold that the witness sees, 0 for none.
func (h *harmed) holder() uint64 {
	h.t.Helper()
	info, err := h.witness.Get(h.t.Context(), s)
	if err != nil && !errors.Is(err, sema.ErrNotFound) {
		h.t.Fatal(err)
	}
	return info.Token
}

// bitten waits until the harm has struck so often.
func (h *harmed) bitten(times int64) {
	h.t.Helper()
	h.c.Eventually("the harm strikes", func() error {
		if h.harm.bitten.Load() < times {
			return errors.New("not often enough")
		}
		return nil
	})
}

// taken acquires for a client.
func (h *harmed) taken(svc sema.Service, timeout time.Duration) sema.Info {
	h.t.Helper()
	info, err := svc.Acquire(h.t.Context(), s, "somebody", timeout)
	if err != nil || info.Status != sema.Acquired {
		h.t.Fatalf("acquiring: status %v, error %v", info.Status, err)
	}
	return info
}

// However often the answer is lost, the client asks for the same thing again, and
// has what it was given the first time.
func TestWhoseAnswerIsLostAsksAgainAndIsGrantedOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		acquire func(ctx context.Context, cl *Client) (sema.Info, error)
	}{
		{"asking", func(ctx context.Context, cl *Client) (sema.Info, error) {
			return cl.Acquire(ctx, s, "somebody", time.Minute)
		}},
		{"waiting in line", func(ctx context.Context, cl *Client) (sema.Info, error) {
			return cl.AcquireWait(ctx, s, "somebody", time.Minute, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			withHarm(t, &callHarm{kind: cutAnswer}, func(t *testing.T, h *harmed) {
				var info sema.Info
				done := make(chan error, 1)
				go func() {
					var err error
					info, err = c.acquire(t.Context(), h.cl)
					done <- err
				}()
				h.bitten(1)
				granted := h.holder()
				h.bitten(3)
				if again := h.holder(); granted == 0 || again != granted {
					t.Errorf("the witness saw token %d, then %d", granted, again)
				}
				h.lift()
				if err := <-done; err != nil || info.Status != sema.Acquired || info.Token != granted {
					t.Errorf("the answer is status %v with token %d, error %v; granted was token %d", info.Status, info.Token, err, granted)
				}
				if err := h.cl.Release(t.Context(), s); err != nil {
					t.Error(err)
				}
				if token := h.holder(); token != 0 {
					t.Errorf("when it is released it is held with token %d", token)
				}
			})
		})
	}
}

// What was decided stands, also if nobody ever hears of it.
func TestWithoutAnAnswerTheOutcomeIsUnknown(t *testing.T) {
	withHarm(t, &callHarm{kind: cutAnswer}, func(t *testing.T, h *harmed) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := h.cl.Acquire(ctx, s, "somebody", time.Minute); !errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Errorf("error %v, want %v", err, sema.ErrOutcomeUnknown)
		}
		if h.holder() == 0 {
			t.Error("nobody holds what was granted")
		}
		h.lift()
		if err := h.cl.Release(t.Context(), s); err != nil || h.holder() != 0 {
			t.Errorf("given up, error %v, it is held with token %d", err, h.holder())
		}
	})
}

// Only answers to what changes something are cut; the rest does not count as harmed.
func TestReadsKeepTheirAnswers(t *testing.T) {
	withHarm(t, &callHarm{kind: cutAnswer}, func(t *testing.T, h *harmed) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := h.cl.Get(ctx, s); !errors.Is(err, sema.ErrNotFound) {
			t.Errorf("error %v, want %v", err, sema.ErrNotFound)
		}
		if _, err := h.cl.Status(ctx); err != nil {
			t.Error(err)
		}
		if n := h.harm.bitten.Load(); n != 0 {
			t.Errorf("%d answers were lost", n)
		}
	})
}

// Copies of everything that one has said arrive while another holds, and when nobody
// does: they change nothing.
func TestLateCopiesHaveNoEffect(t *testing.T) {
	for _, c := range []struct {
		name    string
		acquire func(t *testing.T, h *harmed) error
	}{
		{"of who asked", func(_ *testing.T, h *harmed) error { h.taken(h.cl, time.Minute); return nil }},
		{"of who waited in line", func(t *testing.T, h *harmed) error {
			_, err := h.cl.AcquireWait(t.Context(), s, "somebody", time.Minute, nil)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			withHarm(t, &callHarm{kind: duplicateCall, upTo: 30 * time.Second}, func(t *testing.T, h *harmed) {
				for range 5 {
					if err := c.acquire(t, h); err != nil {
						t.Fatal(err)
					}
					if _, err := h.cl.Touch(t.Context(), s); err != nil {
						t.Fatal(err)
					}
					if err := h.cl.Release(t.Context(), s); err != nil {
						t.Fatal(err)
					}
				}
				h.lift()
				if n := h.harm.bitten.Load(); n != 15 {
					t.Errorf("%d calls were copied, want 15", n)
				}
				hold := h.taken(h.witness, 10*time.Minute)
				<-time.After(15 * time.Second) // half of the copies, about
				seen, err := h.witness.Get(t.Context(), s)
				if err != nil || seen.Token != hold.Token || !seen.ExpiresAt.Equal(hold.ExpiresAt) {
					t.Errorf("the hold %+v\nhas become %+v, error %v", hold, seen, err)
				}
				if err := h.witness.Release(t.Context(), s); err != nil {
					t.Fatal(err)
				}
				for range 30 {
					<-time.After(time.Second)
					if token := h.holder(); token != 0 {
						t.Fatalf("nobody asked for it, and it is held with token %d", token)
					}
				}
			})
		})
	}
}

// A refusal leaves no trace in the log, so a copy would be a new request: see the
// README on what is not promised.
func TestRefusalsAreNotCopied(t *testing.T) {
	withHarm(t, &callHarm{kind: duplicateCall, upTo: 10 * time.Second}, func(t *testing.T, h *harmed) {
		h.taken(h.witness, time.Minute)
		info, err := h.cl.Acquire(t.Context(), s, "somebody", time.Minute)
		if err != nil || info.Status != sema.OwnedBySomeoneElse || h.harm.bitten.Load() != 0 {
			t.Errorf("status %v, error %v; %d copies", info.Status, err, h.harm.bitten.Load())
		}
	})
}

func TestLateCallsAreLateAndNothingElse(t *testing.T) {
	withHarm(t, &callHarm{kind: delayCall, upTo: 1500 * time.Millisecond}, func(t *testing.T, h *harmed) {
		began := time.Now()
		for range 20 {
			h.taken(h.cl, time.Minute)
			if err := h.cl.Release(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 10*time.Second || took > 2*time.Minute {
			t.Errorf("40 calls, each up to 1.5 s late, took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := h.cl.Acquire(ctx, s, "somebody", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("too late for its deadline: error %v, want %v", err, context.DeadlineExceeded)
		}
	})
}

// Harm is one client's, as long as it lasts; what is still under way ends with the
// client.
func TestHarmIsOfOneClientAndEnds(t *testing.T) {
	withHarm(t, &callHarm{kind: duplicateCall, upTo: time.Hour}, func(t *testing.T, h *harmed) {
		h.taken(h.witness, time.Minute)
		if n := h.harm.bitten.Load(); n != 0 {
			t.Errorf("%d calls of another client were copied", n)
		}
		if err := h.witness.Release(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		h.taken(h.cl, time.Minute)
		h.lift()
		h.lift() // once more does nothing
		if err := h.cl.Release(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if n := h.harm.bitten.Load(); n != 1 {
			t.Errorf("%d calls were copied, want 1", n)
		}
		began := time.Now()
		if h.cl.calls.close(); time.Since(began) > lateCall {
			t.Errorf("to end took %v", time.Since(began))
		}
	})
}
