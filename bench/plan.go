//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/semanode/sema/bench/internal/host"
	"github.com/semanode/sema/bench/internal/peer"
	"github.com/semanode/sema/bench/internal/report"
	"github.com/semanode/sema/internal/load"
	"github.com/semanode/sema/internal/tuning"
)

// bench is one run of everything that was asked for.
type bench struct {
	options
	dir   string // temporary; gone in the end
	log   io.Writer
	peers []found
	data  report.Data
}

// found is a peer that can be started.
type found struct {
	peer.Peer
	about report.About
}

// measure does it all. What fails is in the data; the error says that it is not worth
// going on.
func measure(ctx context.Context, o options, log io.Writer) (_ report.Data, err error) {
	tuning.Processors(0) // as semanode bench does; the load has one process, for all peers
	tuning.HeapFloor()
	dir, err := os.MkdirTemp(o.dir, "sema-bench")
	if err != nil {
		return report.Data{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { // PostgreSQL may have to run as another user
		return report.Data{}, err
	}
	b := &bench{options: o, dir: dir, log: log}
	b.data = report.Data{
		Day:      time.Now().UTC().Format(time.DateOnly),
		Machine:  host.Look(dir),
		Settings: report.Settings{Duration: o.duration, Warmup: o.warmup, Rounds: o.rounds, Workers: o.workers, Waiters: o.waiters},
	}
	if err := b.find(ctx); err != nil {
		return report.Data{}, err
	}
	if b.data.Before, err = host.MeasureSync(dir); err != nil {
		return report.Data{}, err
	}
	if err := b.rounds(ctx); err != nil {
		return report.Data{}, err
	}
	if err := b.failovers(ctx); err != nil {
		return report.Data{}, err
	}
	b.data.After, err = host.MeasureSync(dir)
	return b.data, err
}

// find looks which peers there are.
func (b *bench) find(ctx context.Context) error {
	for _, p := range peer.All(peer.Config{Scratch: b.dir, Semanode: b.semanode, SemaFlags: b.semaFlags, Waiters: b.waiters}) {
		if !b.wants(p.Name()) {
			b.data.Absent = append(b.data.Absent, p.Name()+" was not asked for")
			continue
		}
		about, err := p.Find(ctx)
		if errors.Is(err, peer.ErrAbsent) {
			b.say("left out: %v", err)
			b.data.Absent = append(b.data.Absent, err.Error())
			continue
		}
		if err != nil {
			return err
		}
		b.peers = append(b.peers, b.introduce(p, about))
	}
	return nil
}

// introduce puts a peer into the document.
func (b *bench) introduce(p peer.Peer, about peer.About) found {
	f := found{p, report.About(about)}
	b.say("%s %s: %s", about.Name, about.Version, about.Settings)
	b.data.Peers = append(b.data.Peers, f.about)
	return f
}

// rounds goes through workloads, numbers of workers, rounds and, in each, the peers.
func (b *bench) rounds(ctx context.Context) error {
	for _, mode := range b.workloads {
		counts := b.workers
		if mode != load.Cycle {
			counts = []int{b.waiters}
		}
		for _, workers := range counts {
			for round := range b.options.rounds {
				for _, p := range b.peers {
					t := turn{bench: b, peer: p, mode: mode, workers: workers, round: round + 1}
					err := t.take(ctx)
					if ctx.Err() != nil {
						return ctx.Err()
					}
					if err != nil {
						b.fail(err)
					}
				}
			}
		}
	}
	return nil
}

// say tells how it goes.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// fail notes what could not be measured, and goes on: the rest is worth having.
func (b *bench) fail(err error) {
	b.say("failed: %v", err)
	b.data.Failures = append(b.data.Failures, err.Error())
}
