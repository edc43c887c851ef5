// Package turns lets many wait for one lock, again and again, and checks that they
// are served in the order in which they came. It is for tests, of nodes in this
// process and of processes.
package turns

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

// Turn is one turn of a waiter: the token that it was granted, and the place that
// it was told when it took its ticket, if it was.
type Turn struct {
	Waiter int
	Token  uint64
	Place  sema.Place
}

// Take lets waiters lock and unlock, again and again, until there were so
// many turns in all, and returns them in the order of their tokens. during, if not
// nil, is told how many there were, by whoever took the last.
func Take(t testing.TB, c *client.Client, name string, waiters, turns int, during func(taken int)) []Turn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	first, err := c.Lock(ctx, name, client.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	taken := []Turn{{Waiter: -1, Token: first.Token()}}
	var wg sync.WaitGroup
	for w := range waiters {
		wg.Go(func() {
			for {
				var place sema.Place
				lock, err := c.Lock(ctx, name, client.LockOptions{Notify: func(p sema.Place) {
					if place.Position == 0 {
						place = p
					}
				}})
				if err != nil {
					t.Errorf("waiter %d: %v", w, err)
					return
				}
				mu.Lock()
				done := len(taken) > turns
				if !done {
					taken = append(taken, Turn{w, lock.Token(), place})
				}
				n := len(taken)
				mu.Unlock()
				if during != nil && !done {
					during(n)
				}
				if err := lock.Unlock(ctx); err != nil {
					t.Errorf("waiter %d unlocks: %v", w, err)
				}
				if done {
					return
				}
			}
		})
	}
	waitForLine(ctx, t, c, name, waiters)
	if err := first.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	slices.SortFunc(taken, func(a, b Turn) int { return cmp.Compare(a.Token, b.Token) })
	return taken
}

// CheckOrder: who took its ticket behind so many others, while a hold stood, came so
// many grants after it.
func CheckOrder(t testing.TB, turns []Turn) {
	t.Helper()
	rank := map[uint64]int{}
	for i, turn := range turns {
		rank[turn.Token] = i
	}
	checked := 0
	for i, turn := range turns {
		before, known := rank[turn.Place.Holder.Token]
		if turn.Place.Position == 0 || !known {
			continue
		}
		checked++
		if want := before + turn.Place.Position; i != want {
			t.Errorf("waiter %d, number %d behind token %d, was granted token %d: grant %d, want %d",
				turn.Waiter, turn.Place.Position, turn.Place.Holder.Token, turn.Token, i, want)
		}
	}
	if checked < len(turns)*9/10 {
		t.Errorf("only %d of %d turns say anything about order", checked, len(turns))
	}
}

// CheckFair: nobody had three turns more than another. It holds as long as hardly anybody
// comes back into line only after its next turn would have come: not over a change of leader, where
// who was about to come back may miss some.
func CheckFair(t testing.TB, turns []Turn) {
	t.Helper()
	counts := map[int]int{}
	for _, turn := range turns[1:] {
		counts[turn.Waiter]++
	}
	least, most := len(turns), 0
	for _, n := range counts {
		least, most = min(least, n), max(most, n)
	}
	if most-least > 2 {
		t.Errorf("turns per waiter from %d to %d", least, most)
	}
}

// waitForLine waits until so many wait in line.
func waitForLine(ctx context.Context, t testing.TB, c *client.Client, name string, waiters int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := c.Get(ctx, name)
		if err == nil && info.Waiting == waiters {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in line are %d of %d: %v", info.Waiting, waiters, err)
		}
	}
}
