//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// trailingLogs is how many entries a node keeps behind a snapshot, by default.
const trailingLogs = 10240

// away kills a follower and starts it again: at once, and when the entries that it
// missed are gone from the logs of the others, so that it needs their snapshot.
func (b *bench) away(ctx context.Context, f *fleet) error {
	t := b.table("A node that comes back", "", "until it knows the leader and serves", "until it has all entries")
	follower, err := f.follower(ctx)
	if err != nil {
		return err
	}
	restart := func(what string) error {
		began := time.Now()
		if err := f.Node(follower).Start(); err != nil {
			return err
		}
		if err := f.Node(follower).WaitReady(ctx); err != nil {
			return err
		}
		ready := time.Since(began)
		if err := f.Whole(ctx); err != nil {
			return err
		}
		b.say("%s: %s, %s", what, seconds(ready), seconds(time.Since(began)))
		t.add(what, seconds(ready), seconds(time.Since(began)))
		return nil
	}
	if err := f.Node(follower).Kill(); err != nil {
		return err
	}
	if err := restart("killed and started again at once"); err != nil {
		return err
	}
	if err := f.Node(follower).Kill(); err != nil {
		return err
	}
	missed, err := b.leaveBehind(ctx, f)
	if err != nil {
		return errors.Join(err, f.Node(follower).Start())
	}
	had := f.newest(follower)
	if err := restart(fmt.Sprintf("away for %s entries, caught up by a snapshot", count(int(missed)))); err != nil {
		return err
	}
	if now := f.newest(follower); now <= had {
		return fmt.Errorf("its newest snapshot is of entry %d as before: it did not need one", now)
	}
	return nil
}

// leaveBehind writes entries until a node that has those up to now needs a snapshot.
func (b *bench) leaveBehind(ctx context.Context, f *fleet) (missed uint64, err error) {
	leader, err := f.Leader(ctx)
	if err != nil {
		return 0, err
	}
	from, err := f.LogIndex(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, snapshotWithin, errors.New("the leader has not cut its log in time"))
	defer cancel()
	cycling, stop := context.WithCancel(ctx)
	done := make(chan []span, 1)
	go func() { done <- cycle(cycling, f) }()
	defer func() { stop(); <-done }()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-look.C:
			if f.newest(leader) > from+trailingLogs {
				index, err := f.LogIndex(ctx)
				return index - from, err
			}
		}
	}
}
