package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/transport"
)

func TestClientIDsDiffer(t *testing.T) {
	seen := map[sema.ClientID]bool{{}: true}
	for range 1000 {
		id := session.NewClientID()
		if seen[id] {
			t.Fatalf("%x twice", id)
		}
		seen[id] = true
	}
}

// An attempt that stays open must not keep a client from going on, nor make it
// run further ahead than the cluster allows.
func TestAFullWindowOpensANewLane(t *testing.T) {
	node := new(fakenode.Node)
	s := session.New(node, id)
	answer(node, fakenode.ErrLost)
	_, _ = s.Acquire(t.Context(), "stuck", "me", timeout) // stays open
	for i := range 2*sema.MaxOpenAttempts + 10 {
		name := fmt.Sprint("n", i)
		mustAcquire(t, s, name)
		if err := s.Release(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	lanes := map[sema.ClientID]uint64{} // highest Seq
	for _, req := range node.Requests() {
		if req, ok := req.(transport.AcquireRequest); ok {
			if err := req.Validate(); err != nil {
				t.Fatalf("%+v: %v", req.Attempt, err)
			}
			lanes[req.Attempt.Client] = max(lanes[req.Attempt.Client], req.Attempt.Seq)
		}
	}
	if len(lanes) != 2 || lanes[id] != sema.MaxOpenAttempts {
		t.Errorf("lanes with their highest seq: %v; want two, and the first one full", lanes)
	}

	// The old lane still knows its attempt, and what was held under it.
	before := len(node.Requests())
	if info := mustAcquire(t, s, "stuck"); info.Token == 0 {
		t.Error("no token")
	}
	if err := s.Release(t.Context(), "stuck"); err != nil {
		t.Error(err)
	}
	for _, req := range node.Requests()[before:] {
		var attempt sema.Attempt
		switch req := req.(type) {
		case transport.AcquireRequest:
			attempt = req.Attempt
		case transport.TouchRequest:
			attempt = req.Attempt
		case transport.ReleaseRequest:
			attempt = req.Attempt
			if attempt.LowestOpen != sema.MaxOpenAttempts+1 {
				t.Errorf("after the last open one: lowest open %d", attempt.LowestOpen)
			}
		}
		if attempt.Client != id {
			t.Errorf("%+v is not in the old lane", req)
		}
	}
}

// Many goroutines, one backend that fails in every way: the lowest open attempt
// never passes one whose answer is missing, and what is held is what is known.
func TestConcurrentUse(t *testing.T) {
	const workers, rounds = 8, 60
	node := new(fakenode.Node)
	var mu sync.Mutex
	open := map[sema.ClientID]map[uint64]bool{}
	count := 0
	node.Intercept(func(_ context.Context, req any, apply func() error) error {
		mu.Lock()
		defer mu.Unlock()
		count++
		acquire, ok := req.(transport.AcquireRequest)
		if !ok {
			if err := apply(); err != nil || count%5 != 0 {
				return err
			}
			return fakenode.ErrLost
		}
		a := acquire.Attempt
		if open[a.Client] == nil {
			open[a.Client] = map[uint64]bool{}
		}
		for seq := range open[a.Client] {
			if seq < a.LowestOpen {
				t.Errorf("seq %d is unanswered, and lowest open is %d", seq, a.LowestOpen)
			}
		}
		switch count % 4 {
		case 0:
			open[a.Client][a.Seq] = true
			return fakenode.ErrLost
		case 1:
			_ = apply()
			open[a.Client][a.Seq] = true
			return fakenode.ErrLost
		}
		err := apply()
		if err == nil {
			delete(open[a.Client], a.Seq)
		}
		return err
	})
	s := session.New(node, id)
	var all sync.WaitGroup
	for w := range workers {
		name := fmt.Sprint("n", w)
		all.Go(func() {
			for range rounds {
				var info sema.Info
				err := error(sema.ErrOutcomeUnknown)
				for errors.Is(err, sema.ErrOutcomeUnknown) {
					info, err = s.Acquire(t.Context(), name, "me", timeout)
				}
				if err != nil || info.Status != sema.Acquired || node.Holder(name).Token != info.Token {
					t.Errorf("acquire: %+v, %v; held: %+v", info, err, node.Holder(name))
				}
				err = sema.ErrOutcomeUnknown
				for errors.Is(err, sema.ErrOutcomeUnknown) {
					err = s.Release(t.Context(), name)
				}
				if err != nil || node.Holder(name).Token != 0 {
					t.Errorf("release: %v; held: %+v", err, node.Holder(name))
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkAcquireRelease(b *testing.B) {
	s := session.New(instant{}, id)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Acquire(b.Context(), "a", "me", timeout); err != nil {
			b.Fatal(err)
		}
		if err := s.Release(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
}

// instant grants everything.
type instant struct{ session.Backend }

func (instant) Acquire(_ context.Context, req transport.AcquireRequest) (sema.Info, error) {
	return sema.Info{Status: sema.Acquired, Name: req.Name, Token: req.Attempt.Seq}, nil
}

func (instant) Release(context.Context, transport.ReleaseRequest) (bool, error) { return true, nil }
