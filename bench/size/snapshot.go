//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/semanode/sema"
)

const (
	// writers make the entries that a node wants before it takes a snapshot.
	writers = 8
	// snapshotWithin is how long that takes at most.
	snapshotWithin = 3 * time.Minute
	// lookEvery is how exact a snapshot is timed.
	lookEvery = 5 * time.Millisecond
)

// span is a stretch of time.
type span struct{ from, to time.Time }

func (s span) took() time.Duration { return s.to.Sub(s.from) }

func (s span) overlaps(o span) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// snapshot waits until every node has taken one, and measures cycles beside it.
func (b *bench) snapshot(ctx context.Context, f *fleet) error {
	leader, err := f.Leader(ctx)
	if err != nil {
		return err
	}
	cycling, stop := context.WithCancel(ctx)
	defer stop()
	spans := make(chan []span, 1)
	go func() { spans <- cycle(cycling, f) }()
	taken, err := watchSnapshots(ctx, f)
	stop()
	all := <-spans
	if err != nil {
		return err
	}
	var beside, apart []time.Duration
	for _, s := range all {
		if s.overlaps(taken[leader].span) {
			beside = append(beside, s.took())
		} else if !slices.ContainsFunc(taken, func(t taking) bool { return s.overlaps(t.span) }) {
			apart = append(apart, s.took())
		}
	}
	if len(beside) == 0 || len(apart) == 0 {
		return fmt.Errorf("%d cycles beside the leader's snapshot, %d apart", len(beside), len(apart))
	}
	t := b.table("A snapshot in a running node", "", "")
	var times []string
	for i, one := range taken {
		times = append(times, fmt.Sprintf("%s (%s)", seconds(one.took()), map[bool]string{true: "leader", false: "follower"}[i == leader]))
	}
	t.add("written in", strings.Join(times, ", "))
	t.add("its size", megabytes(taken[leader].size))
	t.add("cycles beside the leader's: p50, p99, longest of "+count(len(beside)), quantiles(beside))
	t.add("cycles while nobody writes one: p50, p99, longest of "+count(len(apart)), quantiles(apart))
	b.say("snapshots written in %v; cycles beside: %s; apart: %s", times, quantiles(beside), quantiles(apart))
	return nil
}

func quantiles(all []time.Duration) string {
	slices.Sort(all)
	n := len(all)
	return ms(all[n/2]) + ", " + ms(all[n*99/100]) + ", " + ms(all[n-1])
}

// taking is a snapshot that a node took.
type taking struct {
	span
	size  int64
	index uint64
}

// watchSnapshots returns each node's next snapshot that is begun from now on.
func watchSnapshots(ctx context.Context, f *fleet) ([]taking, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, snapshotWithin, errors.New("not every node has taken a snapshot in time"))
	defer cancel()
	taken := make([]taking, nodes)
	known := make([]map[string]time.Time, nodes) // when each was seen first; zero: it was there before
	for i := range known {
		known[i] = map[string]time.Time{}
		for _, name := range f.snapshots(i) {
			known[i][strings.TrimSuffix(name, unfinished)] = time.Time{}
		}
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for left := nodes; left > 0; {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case now := <-look.C:
			for i := range nodes {
				for _, name := range f.snapshots(i) {
					name, writing := strings.CutSuffix(name, unfinished)
					began, seen := known[i][name]
					if !seen {
						known[i][name], began = now, now
					}
					if writing || began.IsZero() || taken[i].size > 0 {
						continue
					}
					info, err := os.Stat(filepath.Join(f.data(i), "snapshots", name, "state.bin"))
					if err != nil {
						return nil, err
					}
					taken[i] = taking{span: span{began, now}, size: info.Size(), index: indexOf(name)}
					left--
				}
			}
		}
	}
	return taken, nil
}

// unfinished is what the names of snapshots end with that are being written.
const unfinished = ".tmp"

// snapshots are the names of a node's, TERM-INDEX-MILLISECONDS.
func (f *fleet) snapshots(node int) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(f.data(node), "snapshots")) // none yet
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// newest is the index of a node's newest snapshot, 0 if it has none.
func (f *fleet) newest(node int) (index uint64) {
	for _, name := range f.snapshots(node) {
		if !strings.HasSuffix(name, unfinished) {
			index = max(index, indexOf(name))
		}
	}
	return index
}

func indexOf(name string) uint64 {
	parts := strings.Split(name, "-")
	if len(parts) != 3 {
		return 0
	}
	index, _ := strconv.ParseUint(parts[1], 10, 64) // raft wrote it
	return index
}

// cycle acquires and releases until ctx ends, and returns when.
func cycle(ctx context.Context, f *fleet) (all []span) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			service, name := f.client.Fork(), fmt.Sprintf("cycle/%d", w)
			var own []span
			for ctx.Err() == nil {
				began := time.Now()
				info, err := service.Acquire(ctx, name, "size", time.Minute)
				if err == nil && info.Status == sema.Acquired {
					err = service.Release(ctx, name)
				}
				if err == nil {
					own = append(own, span{began, time.Now()})
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
		})
	}
	wg.Wait()
	return all
}
