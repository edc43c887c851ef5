// Package storetest is the contract of fence.Store as tests, which run against
// every implementation.
package storetest

import (
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/semanode/sema/fence"
)

// Run tests an empty store. It writes to resources of its own.
func Run(t *testing.T, store fence.Store) {
	advance := func(t *testing.T, resource string, token uint64, want error) {
		t.Helper()
		if err := store.Advance(t.Context(), resource, token); !errors.Is(err, want) {
			t.Errorf("Advance(%q, %d) = %v, want %v", resource, token, err, want)
		}
	}
	t.Run("only rises", func(t *testing.T) {
		advance(t, "rising", 5, nil)
		advance(t, "rising", 5, nil)
		advance(t, "rising", 4, fence.ErrStale)
		advance(t, "rising", 9, nil)
		advance(t, "rising", 5, fence.ErrStale)
		advance(t, "rising", 8, fence.ErrStale)
		advance(t, "rising", 9, nil)
		advance(t, "rising", math.MaxInt64, nil)
		advance(t, "rising", math.MaxInt64-1, fence.ErrStale)
	})
	t.Run("resources are apart", func(t *testing.T) {
		advance(t, "apart", 5, nil)
		advance(t, "Apart", 1, nil)
		advance(t, "apart ", 1, nil)
		advance(t, "añd 日本 '; DROP TABLE sema_fence; --", 1, nil)
		advance(t, "apart", 4, fence.ErrStale)
	})
	t.Run("one step", func(t *testing.T) { oneStep(t, store) })
}

// oneStep: of many tokens that come at once, each in a goroutine of its own, the
// highest is the last word, and each goroutine's own view only rises.
func oneStep(t *testing.T, store fence.Store) {
	const workers, tokens = 4, 50
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := range tokens {
				token := uint64(1 + i*workers + w)
				if err := store.Advance(t.Context(), "at once", token); err != nil && !errors.Is(err, fence.ErrStale) {
					t.Errorf("token %d: %v", token, err)
				}
				// Accepted or not, at least this one has been seen now.
				if err := store.Advance(t.Context(), "at once", token-1); token > 1 && !errors.Is(err, fence.ErrStale) {
					t.Errorf("token %d after %d: %v, want ErrStale", token-1, token, err)
				}
			}
		})
	}
	wait.Wait()
	if err := store.Advance(t.Context(), "at once", workers*tokens-1); !errors.Is(err, fence.ErrStale) {
		t.Errorf("after all, the token before the highest: %v, want ErrStale", err)
	}
}
