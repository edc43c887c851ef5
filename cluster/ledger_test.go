package cluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/transport"
)

// cutSeed makes what is random about disks.
var cutSeed = flag.Uint64("cutseed", uint64(time.Now().UnixNano()), "of what is random about power cuts and damage")

// ledger is what a cluster has acknowledged, as its clients know it: what must be true
// whatever happens to the nodes.
type ledger struct {
	mu      sync.Mutex
	era     int               // ends with a power cut
	next    int               // for names
	held    map[string]uint64 // acknowledged, and nobody tried to release it
	freed   map[string]uint64 // the release was acknowledged
	highest uint64            // of the tokens

	acquired, released int
	faults             []string
}

func newLedger() *ledger { return &ledger{held: map[string]uint64{}, freed: map[string]uint64{}} }

// holds is how many a worker has before it releases.
const holds = 4

// work lets workers acquire and release until ctx ends; wait waits for them.
func (l *ledger) work(ctx context.Context, c *client.Client, workers int) (wait func()) {
	var wg sync.WaitGroup
	era := l.era
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.acquire(ctx, c, era)
				if name, token, ok := l.oldest(era, workers*holds); ok {
					l.release(ctx, c, era, name, token)
				}
			}
		})
	}
	return wg.Wait
}

func (l *ledger) acquire(ctx context.Context, c *client.Client, era int) {
	l.mu.Lock()
	l.next++
	name := fmt.Sprintf("lock/%07d/%s", l.next, strings.Repeat("x", l.next%200))
	l.mu.Unlock()
	info, err := c.Acquire(ctx, name, "worker", time.Hour)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.era != era {
		return // it may be held, or not
	}
	if info.Status != sema.Acquired {
		l.faults = append(l.faults, fmt.Sprintf("%s, which is new, was %v", name, info.Status))
	}
	l.held[name] = info.Token
	l.highest = max(l.highest, info.Token)
	l.acquired++
}

// oldest takes one that is to be released, if there are more than enough.
func (l *ledger) oldest(era, enough int) (name string, token uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.era != era || len(l.held) <= enough {
		return "", 0, false
	}
	for n, t := range l.held {
		if name == "" || n < name {
			name, token = n, t
		}
	}
	delete(l.held, name)
	return name, token, true
}

func (l *ledger) release(ctx context.Context, c *client.Client, era int, name string, token uint64) {
	gone, err := c.ReleaseToken(ctx, name, token)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || !gone || l.era != era { // not gone now: it may have been by a try before
		return
	}
	l.freed[name] = token
	l.released++
}

// powerFails ends the era: what is acknowledged from now on does not count.
func (l *ledger) powerFails() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.era++
}

// verify returns what was acknowledged and is not true.
func (l *ledger) verify(t testing.TB, c *client.Client) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l.mu.Lock()
	l.next++
	name := fmt.Sprintf("lock/%07d", l.next)
	l.mu.Unlock()
	fresh, err := c.Acquire(ctx, name, "verifier", time.Hour) // waits for a leader
	if err != nil {
		t.Fatalf("nothing can be acquired: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	faults := l.faults
	if fresh.Token <= l.highest {
		faults = append(faults, fmt.Sprintf("token %d was given out, and token %d before it", fresh.Token, l.highest))
	}
	l.highest, l.held[name] = max(l.highest, fresh.Token), fresh.Token
	listed := list(ctx, t, c)
	for name, token := range l.held {
		if info := confirm(ctx, t, c, listed, name, token); info.Token != token {
			faults = append(faults, fmt.Sprintf("%s was acquired with token %d, and is held with token %d", name, token, info.Token))
		}
	}
	for name, token := range l.freed {
		if listed[name] != 0 && confirm(ctx, t, c, nil, name, token).Token == token {
			faults = append(faults, fmt.Sprintf("%s was released, and is held with that token %d", name, token))
		}
	}
	return faults
}

// list returns the tokens of all holds, which may be a moment old.
func list(ctx context.Context, t testing.TB, c *client.Client) map[string]uint64 {
	t.Helper()
	tokens := map[string]uint64{}
	for req := (transport.ListRequest{}); ; {
		page, err := c.List(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range page.Infos {
			tokens[info.Name] = info.Token
		}
		if page.Next == "" {
			return tokens
		}
		req.After = page.Next
	}
}

// confirm asks the log about one that the list has not as it should be.
func confirm(ctx context.Context, t testing.TB, c *client.Client, listed map[string]uint64, name string, token uint64) sema.Info {
	t.Helper()
	if listed[name] == token {
		return sema.Info{Token: token}
	}
	info, err := c.Get(ctx, name)
	if err != nil && !errors.Is(err, sema.ErrNotFound) {
		t.Fatal(err)
	}
	return info
}
