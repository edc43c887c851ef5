//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/bench/internal/stat"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/load"
)

const (
	// touchEvery is how often each hold is touched, at least: a third of its timeout.
	touchEvery = 30 * time.Second
	// touchers is how many clients share the holds, so that their beats are spread.
	touchers = 30
	// probeRate is how many cycles per second are asked for while holds are touched. What
	// they cost counts as the touches'.
	probeRate = 10
)

// handlesKept keeps many locks of one client alive.
func (b *bench) handlesKept(ctx context.Context) error {
	return b.keep(ctx, keeping{
		title: "Locks of one client", locks: b.handles, clients: 1, timeout: sema.DefaultTimeout,
	})
}

// touched keeps many holds alive, each touched every 30 s.
func (b *bench) touched(ctx context.Context) error {
	return b.keep(ctx, keeping{
		title: fmt.Sprintf("%s holds, each touched every %v", count(b.holds), touchEvery), locks: b.holds, clients: touchers, timeout: 3 * touchEvery,
	})
}

// keeping is locks that are kept alive.
type keeping struct {
	title          string
	locks, clients int
	timeout        time.Duration
}

func (b *bench) keep(ctx context.Context, k keeping) (err error) {
	f, err := b.start(ctx, k.locks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop()) }()
	before := heapInUse()
	var clients []*client.Client
	defer func() {
		for _, c := range clients {
			err = errors.Join(err, c.Close())
		}
	}()
	for range k.clients {
		c, err := client.New(client.Config{Endpoints: f.Endpoints()})
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	began := time.Now()
	held := make([]*client.Lock, k.locks)
	err = each(ctx, k.locks, func(i int) (err error) { // one client after the other
		c := clients[i*k.clients/k.locks]
		held[i], err = c.TryLock(context.WithoutCancel(ctx), holdName(i), client.LockOptions{Owner: "size", Timeout: k.timeout})
		return err
	})
	if err != nil {
		return err
	}
	filled := time.Since(began)
	b.say("%s locks in %s", count(k.locks), seconds(filled))
	handle := float64(heapInUse()-before) / float64(k.locks)
	use, err := b.use(ctx, f)
	if err != nil {
		return err
	}
	lost, soonest := health(held, k.timeout)
	t := b.table(k.title, "", "")
	t.add("acquired", fmt.Sprintf("%s per second, all in %s", count(int(float64(k.locks)/filled.Seconds())), seconds(filled)))
	t.add("lost, in "+seconds(use.wall), count(lost))
	t.add("nearest to being lost, of a timeout of "+k.timeout.String(), seconds(soonest))
	t.add("log entries", fmt.Sprintf("%s per second", count(int(float64(use.entries)/use.wall.Seconds()))))
	cores := func(d time.Duration) string { return stat.Figure(d.Seconds() / use.wall.Seconds()) }
	all := use.nodes.leader + use.nodes.follower + use.client
	t.add("processor time per second of wall time: leader, both followers, client", cores(use.nodes.leader)+", "+cores(use.nodes.follower)+", "+cores(use.client))
	t.add(fmt.Sprintf("together, and of the machine's %d cores", runtime.NumCPU()),
		fmt.Sprintf("%s, %s %%", cores(all), stat.Figure(100*all.Seconds()/use.wall.Seconds()/float64(runtime.NumCPU()))))
	t.add("memory, resident: leader, follower, client", megabytes(use.memory.leader)+", "+megabytes(use.memory.follower)+", "+megabytes(use.own))
	t.add("heap of the client for each lock", stat.Figure(handle)+" bytes")
	t.add(fmt.Sprintf("an acquire and a release beside it, %d per second: p50, p99, longest", probeRate),
		fmt.Sprintf("%s ms, %s ms, %s ms", stat.Figure(use.probe.P50Ms), stat.Figure(use.probe.P99Ms), stat.Figure(use.probe.MaxMs)))
	b.say("leader %s, followers %s, client %s cores; %d lost, nearest %s; cycles p50 %.3g ms, p99 %.3g ms",
		cores(use.nodes.leader), cores(use.nodes.follower), cores(use.client), lost, seconds(soonest), use.probe.P50Ms, use.probe.P99Ms)
	runtime.KeepAlive(held)
	if lost > 0 {
		return fmt.Errorf("%d of %d locks were lost", lost, k.locks)
	}
	return nil
}

// use is what a cluster and this process used within the window.
type use struct {
	wall    time.Duration
	entries uint64
	nodes   roles[time.Duration]
	client  time.Duration
	memory  roles[int64]
	own     int64
	probe   load.Result
}

// health is how many locks are lost, and how near the nearest of the others is to it.
func health(held []*client.Lock, timeout time.Duration) (lost int, soonest time.Duration) {
	soonest = timeout
	for _, l := range held {
		if l.Context().Err() != nil {
			lost++
		}
		soonest = min(soonest, time.Until(l.Deadline()))
	}
	return lost, soonest
}

func (b *bench) use(ctx context.Context, f *fleet) (u use, err error) {
	from, err := f.LogIndex(ctx)
	if err != nil {
		return u, err
	}
	before, err := f.processors(ctx)
	if err != nil {
		return u, err
	}
	own, began := ownProcessorTime(), time.Now()
	if u.probe, err = probe(ctx, f, b.window); err != nil {
		return u, err
	}
	u.wall, u.client = time.Since(began), ownProcessorTime()-own
	after, err := f.processors(ctx)
	if err != nil {
		return u, err
	}
	u.nodes = roles[time.Duration]{after.leader - before.leader, after.follower - before.follower}
	if u.nodes.leader < 0 || u.nodes.follower < 0 {
		return u, errors.New("the leader has changed")
	}
	to, err := f.LogIndex(ctx)
	if err != nil {
		return u, err
	}
	u.entries = to - from
	if u.memory, err = f.memory(ctx); err != nil {
		return u, err
	}
	u.own, err = resident(os.Getpid())
	return u, err
}

// probe asks for a few cycles per second, for a time.
func probe(ctx context.Context, f *fleet, d time.Duration) (_ load.Result, err error) {
	access, err := f.Ways(load.Cycle)[0].Open(ctx, 1)
	if err != nil {
		return load.Result{}, err
	}
	defer func() { err = errors.Join(err, access.Close()) }()
	return load.Run(ctx, load.Config{Mode: load.Cycle, Workers: 4, Duration: d, Rate: probeRate}, access.Dial)
}

// heapInUse is how many bytes this process has in use after a collection.
func heapInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
