//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/semanode/sema/bench/internal/host"
	"github.com/semanode/sema/bench/internal/peer"
	"github.com/semanode/sema/bench/internal/report"
	"github.com/semanode/sema/internal/load"
)

// turn is a peer's part of a round: a workload with a number of workers.
type turn struct {
	*bench
	peer    peer.Peer
	mode    load.Mode
	workers int
	round   int // from 1
}

func (t turn) String() string {
	return fmt.Sprintf("%s, %d workers, round %d, %s", t.mode, t.workers, t.round, t.peer.Name())
}

// take starts the peer, measures every way in turn, and ends it.
func (t turn) take(ctx context.Context) error {
	return t.with(ctx, t.peer, func(running peer.Running) error {
		ways := running.Ways(t.mode)
		var errs []error
		for i := range ways {
			way := ways[(i+t.round-1)%len(ways)] // another one first in each round
			if err := t.measure(ctx, running, way); err != nil {
				errs = append(errs, fmt.Errorf("%v, %s (%s): %w", t, way.Column, way.Note, err))
			}
			if ctx.Err() != nil {
				break
			}
		}
		return errors.Join(errs...)
	})
}

// with runs a peer while something is done with it, in a directory that is gone
// afterwards.
func (b *bench) with(ctx context.Context, p peer.Peer, do func(peer.Running) error) (err error) {
	dir, err := os.MkdirTemp(b.dir, p.Name())
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(dir))
		host.Settle() // the next one's writes do not wait for these
	}()
	running, err := p.Start(ctx, dir)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name(), err)
	}
	host.Settle()
	return errors.Join(do(running), running.Stop())
}

// measure puts the load on in one way.
func (t turn) measure(ctx context.Context, running peer.Running, way peer.Way) (err error) {
	access, err := way.Open(ctx, t.workers)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, access.Close()) }()
	cfg := load.Config{Mode: t.mode, Workers: t.workers, Duration: t.duration, Warmup: t.warmup}
	dial := access.Dial
	var hands hands
	if t.mode == load.Handoff {
		dial = hands.watch(dial)
	}
	var log *logCounter
	if indexer, ok := running.(peer.Indexer); ok && t.mode == load.Poll {
		log = &logCounter{ctx: ctx, indexer: indexer}
		cfg.Progress = log.look
	}
	result, err := load.Run(ctx, cfg, dial)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err() // the load ended early, which is no error of its own
	}
	if result.Cycles == 0 {
		return fmt.Errorf("nothing was done in %v: %v", t.duration, result.ErrorTexts)
	}
	run := report.Run{Column: way.Column, Setup: way.Note, Round: t.round, Result: result}
	if t.mode == load.Handoff {
		run.Passed = hands.passed()
	}
	if log != nil {
		if log.err != nil {
			return log.err
		}
		run.Entries, run.EntriesUnits = log.entries(), log.units()
	}
	t.data.Runs = append(t.data.Runs, run)
	t.say("%s, %d workers, round %d: %s (%s): %.0f/s, p50 %.3g ms, p99 %.3g ms, %d errors",
		t.mode, t.workers, t.round, way.Column, way.Note, result.CyclesPerSecond, result.P50Ms, result.P99Ms, result.Errors)
	return nil
}
