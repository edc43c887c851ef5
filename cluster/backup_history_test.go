package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/fsm"
)

// history is what clients asked and were answered.
type history struct {
	mu    sync.Mutex
	start time.Time
	ops   []*op
}

// op is an acquire or a release that was answered, or whose answer is not known.
type op struct {
	release      bool
	name         string
	token        uint64 // 0: of an acquire whose answer is not known
	begin, end   time.Duration
	known, worse bool // worse: it was refused
}

func (h *history) begin(name string, release bool, token uint64) *op {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := &op{name: name, release: release, token: token, begin: time.Since(h.start)}
	h.ops = append(h.ops, o)
	return o
}

func (h *history) end(o *op, token uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.end = time.Since(h.start); err == nil {
		o.known, o.token = true, token
	}
}

// work acquires and releases names until ctx ends, and keeps some. For every other one
// it waits in line with others, so that holds are handed over.
func (h *history) work(ctx context.Context, svc sema.Waiter, worker int) {
	for i := 0; ctx.Err() == nil; i++ {
		name, shared := fmt.Sprintf("own/%d/%d", worker, i), i%2 == 0
		if shared {
			name = fmt.Sprintf("shared/%d", i%8)
		}
		acquired := h.begin(name, false, 0)
		var info sema.Info
		var err error
		if shared {
			info, err = svc.AcquireWait(ctx, name, "worker", time.Hour, nil)
		} else {
			info, err = svc.Acquire(ctx, name, "worker", time.Hour)
		}
		if err == nil && info.Status != sema.Acquired {
			acquired.worse = true
		}
		h.end(acquired, info.Token, err)
		if err != nil || acquired.worse || !shared && i%3 == 1 {
			continue
		}
		released := h.begin(name, true, info.Token)
		h.end(released, info.Token, svc.Release(ctx, name))
	}
}

// explain returns why no moment of the history has this state: what is in it must be
// closed towards the past. Tokens order all acquires, so which are in it is known; a
// release is in it if its acquire is, and its hold is not.
func (h *history) explain(m *fsm.Machine, saveBegins, saveEnds time.Duration) (faults []string, acquires, releases int) {
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	last := m.Facts().LastToken
	in := func(o *op) bool {
		if o.token > last {
			return false
		}
		view := m.Look(o.name)
		return !o.release || !view.Held || view.Token != o.token
	}
	granted, released := map[uint64]string{}, map[uint64]bool{}
	latest := time.Duration(-1) // when the last of those began that are in it
	for _, o := range h.ops {
		if o.worse || !o.known {
			released[o.token] = released[o.token] || o.release
			continue
		}
		if o.release {
			released[o.token] = true
		} else {
			granted[o.token] = o.name
		}
		if in(o) {
			latest = max(latest, o.begin)
			if o.begin > saveEnds {
				fault("%+v began after the backup was taken and is in it", *o)
			}
			if o.release {
				releases++
			} else {
				acquires++
			}
		}
	}
	for _, o := range h.ops {
		if o.worse || !o.known || in(o) {
			continue
		}
		if o.end < latest {
			fault("%+v is not in it, and what began later is", *o)
		}
		if o.end < saveBegins {
			fault("%+v was acknowledged before the backup and is not in it", *o)
		}
	}
	for token, name := range granted {
		if view := m.Look(name); token <= last && !released[token] && view.Token != token {
			fault("%s was held under token %d, nobody released it, and in it is %+v", name, token, view)
		}
	}
	return faults, acquires, releases
}

// calls waits until clients have made so many.
func (h *history) calls(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("clients have made %d calls", n), func() error {
		if got := h.count(); got < n {
			return fmt.Errorf("%d calls", got)
		}
		return nil
	})
}

func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// fill acquires names that are held from then on, with owners so long that a backup
// goes out in many pieces.
func (h *history) fill(t testing.TB, c *client.Client, n int) {
	t.Helper()
	var all sync.WaitGroup
	const each = 16
	for i := range each {
		all.Go(func() {
			for j := i; j < n; j += each {
				o := h.begin(fmt.Sprintf("fill/%d", j), false, 0)
				info, err := c.Acquire(t.Context(), o.name, strings.Repeat("o", sema.MaxOwnerBytes), time.Hour)
				h.end(o, info.Token, err)
				if err != nil {
					t.Errorf("fill: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
}
