//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/bench/internal/peer"
	"github.com/semanode/sema/client"
)

const (
	nodes = 3
	// fillers is how many goroutines acquire at once, and standFor how long those holds
	// stand that nobody touches.
	fillers  = 256
	standFor = 24 * time.Hour
)

// fleet is a cluster with holds in it.
type fleet struct {
	running
	dir    string
	holds  int
	client *client.Client
}

type running interface {
	peer.Cluster
	peer.Indexer
	Endpoints() []string
}

// start starts a cluster that is meant for so many holds.
func (b *bench) start(ctx context.Context, holds int) (*fleet, error) {
	dir, err := os.MkdirTemp(b.dir, "cluster")
	if err != nil {
		return nil, err
	}
	started, err := b.sema.Start(ctx, dir)
	if err != nil {
		return nil, err
	}
	f := &fleet{running: started.(running), dir: dir, holds: holds}
	if f.client, err = client.New(client.Config{Endpoints: f.Endpoints()}); err != nil {
		return nil, errors.Join(err, f.Stop())
	}
	return f, nil
}

func (f *fleet) stop() error { return errors.Join(f.client.Close(), f.Stop(), os.RemoveAll(f.dir)) }

// fill acquires what nobody is going to touch, and tells how long it took and what
// memory it takes.
func (b *bench) fill(ctx context.Context, f *fleet) error {
	before, err := f.memory(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	err = each(ctx, f.holds, func(i int) error {
		service := f.client.Fork()
		info, err := service.Acquire(ctx, holdName(i), "size", standFor)
		if err == nil && info.Status != sema.Acquired {
			err = fmt.Errorf("%q: %v", info.Name, info.Status)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("fill with %d holds: %w", f.holds, err)
	}
	took := time.Since(began)
	b.say("%s holds in %s", count(f.holds), seconds(took))
	if f.holds < b.holds {
		return nil
	}
	after, err := f.memory(ctx)
	if err != nil {
		return err
	}
	t := b.table("Holds that stand", "", "")
	t.add("made by one client, "+count(fillers)+" at a time", count(int(float64(f.holds)/took.Seconds()))+" per second, all in "+seconds(took))
	t.add("memory of the leader, resident, before and then", megabytes(before.leader)+", "+megabytes(after.leader))
	t.add("memory of a follower, likewise", megabytes(before.follower)+", "+megabytes(after.follower))
	return nil
}

func holdName(i int) string { return fmt.Sprintf("size/%07d", i) }

// each does something for each number below n, fillers at a time.
func each(ctx context.Context, n int, do func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for range min(n, fillers) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// roles are something of the leader and of the followers, or of the one that has more.
type roles[T any] struct{ leader, follower T }

// memory is what the nodes take.
func (f *fleet) memory(ctx context.Context) (roles[int64], error) {
	return ofNodes(ctx, f, resident, func(a, b int64) int64 { return max(a, b) })
}

// processors is what the nodes have used, the followers together.
func (f *fleet) processors(ctx context.Context) (roles[time.Duration], error) {
	return ofNodes(ctx, f, processorTime, func(a, b time.Duration) time.Duration { return a + b })
}

func ofNodes[T any](ctx context.Context, f *fleet, ask func(pid int) (T, error), join func(a, b T) T) (r roles[T], err error) {
	leader, err := f.Leader(ctx)
	if err != nil {
		return r, err
	}
	for i := range nodes {
		n, err := ask(f.Node(i).Pid())
		if err != nil {
			return r, err
		}
		if i == leader {
			r.leader = n
		} else {
			r.follower = join(r.follower, n)
		}
	}
	return r, nil
}

// data is the directory of a node.
func (f *fleet) data(node int) string { return filepath.Join(f.dir, fmt.Sprintf("n%d", node+1)) }

// follower is a node that does not lead.
func (f *fleet) follower(ctx context.Context) (int, error) {
	leader, err := f.Leader(ctx)
	return (leader + 1) % nodes, err
}
