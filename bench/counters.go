//go:build unix

package main

import (
	"context"
	"fmt"

	"github.com/semanode/sema/bench/internal/peer"
	"github.com/semanode/sema/internal/load"
)

// hands counts how often a lock changed hands. Where nobody stands in line, whoever
// releases is the first to ask again, and often gets it.
type hands struct {
	// Guarded by the lock that is measured: only its holder looks.
	last            int
	grants, changes int64
}

// watch makes the workers of dial count.
func (h *hands) watch(dial func(int) (load.Locker, error)) func(int) (load.Locker, error) {
	h.last = -1
	return func(worker int) (load.Locker, error) {
		l, err := dial(worker)
		if err != nil {
			return nil, err
		}
		return &watched{l, h, worker}, nil
	}
}

// passed is the part of the grants that went to another worker than the one before.
func (h *hands) passed() float64 { return float64(h.changes) / float64(max(1, h.grants)) }

type watched struct {
	load.Locker
	hands  *hands
	worker int
}

func (w *watched) Lock(ctx context.Context, name string) error {
	if err := w.Locker.Lock(ctx, name); err != nil {
		return err
	}
	w.hands.grants++
	if w.hands.last != w.worker {
		w.hands.last = w.worker
		w.hands.changes++
	}
	return nil
}

// logCounter compares what was done with what was written to the log meanwhile. It
// looks once a second, so of a very short run it knows nothing.
type logCounter struct {
	ctx         context.Context
	indexer     peer.Indexer
	first, last struct {
		index uint64
		units int64
	}
	seen bool
	err  error
}

// look is told the progress by the load.
func (c *logCounter) look(p load.Progress) {
	if p.Warmup || c.err != nil {
		return
	}
	index, err := c.indexer.LogIndex(c.ctx)
	if err != nil {
		c.err = fmt.Errorf("how long is the log: %w", err)
		return
	}
	c.last.index, c.last.units = index, p.Cycles
	if !c.seen {
		c.first, c.seen = c.last, true
	}
}

func (c *logCounter) entries() uint64 { return c.last.index - c.first.index }
func (c *logCounter) units() int64    { return c.last.units - c.first.units }
