//go:build unix

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/semanode/sema/bench/internal/peer"
	"github.com/semanode/sema/bench/internal/report"
)

// healWithin is how long a cluster may be out of order before something is wrong.
const healWithin = time.Minute

// failovers takes the leader away, again and again, from every peer that has one.
func (b *bench) failovers(ctx context.Context) error {
	if b.failover == 0 {
		return nil
	}
	peers := b.peers
	for _, p := range b.peers {
		if p.Name() == "etcd" {
			tuned := peer.TunedEtcd()
			about, err := tuned.Find(ctx)
			if err != nil {
				return err
			}
			peers = append(peers[:len(peers):len(peers)], b.introduce(tuned, about))
		}
	}
	for _, p := range peers {
		err := b.with(ctx, p, func(running peer.Running) error {
			cluster, ok := running.(peer.Cluster)
			if !ok {
				return nil
			}
			return b.takeLeaders(ctx, p.about.Name, cluster)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			b.fail(fmt.Errorf("failover of %s: %w", p.about.Name, err))
		}
	}
	return nil
}

// takeLeaders kills leaders and tells leaders to stop.
func (b *bench) takeLeaders(ctx context.Context, column string, cluster peer.Cluster) (err error) {
	probe, err := cluster.Probe(ctx)
	if err != nil {
		return err
	}
	defer probe.Close() // nothing is at stake any more
	for _, kind := range []string{report.Kill, report.Stop} {
		outage := report.Outage{Column: column, Kind: kind}
		for i := range b.failover {
			f := failure{cluster: cluster, probe: probe, name: fmt.Sprintf("failover/%s/%d", kind, i)}
			took, err := f.take(ctx, kind)
			if err != nil {
				return fmt.Errorf("%s of a leader, the %d. time: %w", kind, i+1, err)
			}
			outage.Seconds = append(outage.Seconds, took.Seconds())
			b.say("%s: %s of the leader, %d of %d: %v", column, kind, i+1, b.failover, took.Round(time.Millisecond))
		}
		b.data.Outages = append(b.data.Outages, outage)
	}
	return nil
}

// failure is one loss of a leader.
type failure struct {
	cluster peer.Cluster
	probe   peer.Probe
	name    string // for semaphores
}

// take takes the leader away, measures, and brings it back.
func (f failure) take(ctx context.Context, kind string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, healWithin)
	defer cancel()
	if err := f.probe.Acquire(ctx, f.name+"/before"); err != nil { // it has its connections
		return 0, err
	}
	leader, err := f.cluster.Leader(ctx)
	if err != nil {
		return 0, err
	}
	node := f.cluster.Node(leader)
	measure := f.kill
	if kind == report.Stop {
		measure = f.stop
	}
	took, err := measure(ctx, node)
	if err != nil {
		return 0, err
	}
	if err := node.Start(); err != nil {
		return 0, err
	}
	if err := node.WaitReady(ctx); err != nil {
		return 0, err
	}
	return took, f.cluster.Whole(ctx)
}

// kill measures from SIGKILL to the answer to an acquire that was begun as soon as the
// process was gone.
func (f failure) kill(ctx context.Context, node *peer.Node) (time.Duration, error) {
	began := time.Now()
	if err := node.Kill(); err != nil {
		return 0, err
	}
	err := f.probe.Acquire(ctx, f.name)
	return time.Since(began), err
}

// stop measures the longest time between two answers while the process ends: one
// acquire after the other, to the first that was begun after its end.
func (f failure) stop(ctx context.Context, node *peer.Node) (longest time.Duration, err error) {
	last := time.Now()
	if err := node.Terminate(); err != nil {
		return 0, err
	}
	for i, over := 0, false; !over; i++ {
		select {
		case <-node.Ended():
			over = true
		default:
		}
		if err := f.probe.Acquire(ctx, fmt.Sprintf("%s/%d", f.name, i)); err != nil {
			return 0, err
		}
		now := time.Now()
		longest, last = max(longest, now.Sub(last)), now
	}
	return longest, nil
}
