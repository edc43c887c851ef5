//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema/bench/internal/stat"
)

// leadersKilled kills leaders of both clusters in turn.
func (b *bench) leadersKilled(ctx context.Context, few, many *fleet) error {
	fleets := []*fleet{few, many}
	took := make([][]float64, len(fleets))
	for i := range b.failover {
		for j, f := range fleets {
			d, err := f.killLeader(ctx, fmt.Sprintf("failover/%d", i))
			if err != nil {
				return err
			}
			b.say("leader of %s holds killed, %d of %d: next grant after %s", count(f.holds), i+1, b.failover, seconds(d))
			took[j] = append(took[j], d.Seconds())
		}
	}
	t := b.table("A leader that is killed", "", "beside "+count(few.holds), "beside "+count(many.holds))
	t.add(fmt.Sprintf("SIGKILL to the next grant, %d times", b.failover), stat.Of(took[0]).Text(" s"), stat.Of(took[1]).Text(" s"))
	return nil
}

// killLeader measures from SIGKILL to the answer to an acquire that was begun as soon as
// the process was gone, and makes the cluster whole again.
func (f *fleet) killLeader(ctx context.Context, name string) (_ time.Duration, err error) {
	probe, err := f.Probe(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, probe.Close()) }()
	if err := probe.Acquire(ctx, name+"/before"); err != nil { // it has its connections
		return 0, err
	}
	leader, err := f.Leader(ctx)
	if err != nil {
		return 0, err
	}
	node := f.Node(leader)
	began := time.Now()
	if err := node.Kill(); err != nil {
		return 0, err
	}
	if err := probe.Acquire(ctx, name); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if err := node.Start(); err != nil {
		return 0, err
	}
	if err := node.WaitReady(ctx); err != nil {
		return 0, err
	}
	return took, f.Whole(ctx)
}
