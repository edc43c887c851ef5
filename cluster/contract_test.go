package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// waitOverdue waits until the leader's own clock says that the hold is overdue.
func waitOverdue(t *testing.T, info sema.Info) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is overdue", info.Name), func() error {
		if left := time.Until(info.ExpiresAt); left > -20*time.Millisecond {
			return fmt.Errorf("%v to go", left)
		}
		return nil
	})
}

func TestOverdueHold(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	leader, ctx := h.leader(), context.Background()
	other := leader.Backend()
	ask := func(name string) sema.Info {
		t.Helper()
		info, err := other.Acquire(ctx, transport.AcquireRequest{Name: name, Owner: "bob", Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return info
	}

	t.Run("is forced free by the next who asks, who has to ask again", func(t *testing.T) {
		first := acquire(t, leader, "forced", "alice", sema.MinTimeout)
		if got := ask("forced"); got.Status != sema.OwnedBySomeoneElse || got.Owner != "alice" {
			t.Fatalf("before the deadline: %+v", got)
		}
		waitOverdue(t, first)
		if got := ask("forced"); got.Status != sema.ForcedReleased || got.Token != first.Token || got.Owner != "alice" {
			t.Fatalf("after the deadline: %+v", got)
		}
		if got := ask("forced"); got.Status != sema.Acquired || got.Token <= first.Token {
			t.Fatalf("asked again: %+v", got)
		}
		if _, err := leader.Touch(ctx, "forced"); !errors.Is(err, sema.ErrNotHeld) {
			t.Fatalf("touch of a hold that was taken: %v", err)
		}
		if err := leader.Release(ctx, "forced"); err != nil && !errors.Is(err, sema.ErrNotHeld) {
			t.Fatalf("release of a hold that was taken: %v", err)
		}
		if got := ask("forced"); got.Status != sema.OwnedBySomeoneElse || got.Owner != "bob" {
			t.Fatalf("a stranger's release freed it: %+v", got)
		}
	})

	t.Run("is saved by a late touch", func(t *testing.T) {
		first := acquire(t, leader, "saved", "alice", 300*time.Millisecond)
		waitOverdue(t, first)
		touched, err := leader.Touch(ctx, "saved")
		if err != nil || !touched.ExpiresAt.After(first.ExpiresAt) {
			t.Fatalf("late touch: %+v, %v", touched, err)
		}
		if got := ask("saved"); got.Status != sema.OwnedBySomeoneElse {
			t.Fatalf("after the touch: %+v", got)
		}
	})

	t.Run("is found released in the meantime by who asked while its owner released", func(t *testing.T) {
		eventually(t, "the release comes between the look and the decision", func() error {
			first := acquire(t, leader, "race", "alice", sema.MinTimeout)
			waitOverdue(t, first)
			var wg sync.WaitGroup
			statuses := make(chan sema.Status, 8)
			for range cap(statuses) {
				wg.Go(func() {
					info, err := other.Acquire(ctx, transport.AcquireRequest{Name: "race", Owner: "bob", Timeout: time.Minute})
					if err != nil {
						t.Error(err)
					}
					statuses <- info.Status
					if info.Status == sema.Acquired {
						if _, err := other.Release(ctx, transport.ReleaseRequest{Name: "race", Token: info.Token}); err != nil {
							t.Error(err)
						}
					}
				})
			}
			// Whether the owner still had it is the race; nobody else's hold may end.
			if err := leader.Release(ctx, "race"); err != nil && !errors.Is(err, sema.ErrNotHeld) {
				t.Error(err)
			}
			wg.Wait()
			close(statuses)
			for s := range statuses {
				if s == sema.ReleasedInTheMeanTime {
					return nil
				}
			}
			return errors.New("not this time")
		})
	})
}

func TestSweepEndsWhatNobodyAsksFor(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, func(c *cluster.Config) { c.OverdueRetention = 200 * time.Millisecond })
	leader := h.leader()
	abandoned := acquire(t, leader, "abandoned", "alice", sema.MinTimeout)
	kept := acquire(t, leader, "kept", "alice", time.Hour)
	backend := leader.Backend()
	eventually(t, "the abandoned hold is swept", func() error {
		_, err := backend.Get(context.Background(), transport.GetRequest{Name: "abandoned", Stale: true})
		if errors.Is(err, sema.ErrNotFound) {
			return nil
		}
		return fmt.Errorf("still there, err %v", err)
	})
	if early := time.Until(abandoned.ExpiresAt.Add(200 * time.Millisecond)); early > 50*time.Millisecond {
		t.Fatalf("swept %v before its retention ended", early)
	}
	if info, err := leader.Get(context.Background(), "kept"); err != nil || info.Token != kept.Token {
		t.Fatalf("a hold that is not overdue was swept: %+v, %v", info, err)
	}
	if n := leader.Heap(); n != 1 {
		t.Fatalf("%d deadlines watched, want 1", n)
	}
}

func TestGroupCommit(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	leader := h.leader()
	const workers, rounds = 64, 10
	before := leader.LastIndex()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				name := fmt.Sprintf("own/%d", w)
				if info := acquire(t, leader, name, "worker", time.Minute); info.Status != sema.Acquired {
					t.Errorf("own semaphore: %+v", info)
				}
				if err := leader.Release(context.Background(), name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if entries := leader.LastIndex() - before; entries > workers*rounds*2/4 {
		t.Fatalf("%d commands took %d entries: they do not travel together", workers*rounds*2, entries)
	}
}

func TestPollingWritesNothing(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	leader := h.leader()
	acquire(t, leader, "busy", "alice", time.Minute)
	before := leader.LastIndex()
	for range 1000 {
		if info := acquire(t, leader, "busy", "bob", time.Minute); info.Status != sema.OwnedBySomeoneElse {
			t.Fatalf("%+v", info)
		}
	}
	if entries := leader.LastIndex() - before; entries > 0 {
		t.Fatalf("1,000 refusals wrote %d entries", entries)
	}
	retry := transport.AcquireRequest{Name: "busy", Owner: "bob", Timeout: time.Minute, Retry: true}
	if _, err := leader.Backend().Acquire(context.Background(), retry); err != nil {
		t.Fatal(err)
	}
	if entries := leader.LastIndex() - before; entries != 1 {
		t.Fatalf("a repeated request wrote %d entries, want 1: it is decided by the log", entries)
	}
}

func TestListAndStaleReads(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	leader, ctx := h.leader(), context.Background()
	for i := range 25 {
		acquire(t, leader, fmt.Sprintf("list/%02d", i), "alice", time.Minute)
	}
	acquire(t, leader, "other", "alice", time.Minute)
	var names []string
	for after := ""; ; {
		page, err := leader.Backend().List(ctx, transport.ListRequest{Prefix: "list/", After: after, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range page.Infos {
			names = append(names, info.Name)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(names) != 25 || names[0] != "list/00" || names[24] != "list/24" {
		t.Fatalf("listed %q", names)
	}
	follower := h.follower()
	if _, err := follower.Backend().List(ctx, transport.ListRequest{}); !errors.Is(err, sema.ErrNotLeader) {
		t.Fatalf("list on a follower: %v", err)
	}
	eventually(t, "the follower's own state has all holds", func() error {
		page, err := follower.Backend().List(ctx, transport.ListRequest{Stale: true})
		if err == nil && len(page.Infos) != 26 {
			err = fmt.Errorf("it has %d", len(page.Infos))
		}
		return err
	})
}

func TestEntryStampedInAnotherTerm(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	leader := h.leader()
	info := acquire(t, leader, "stamped", "alice", time.Minute)
	before, term := leader.Clock(), leader.Term()
	forged := fsm.Batch{
		Stamp:    fsm.Stamp{Term: term - 1, Clock: before.Add(time.Hour), Wall: time.Now().Add(time.Hour).UnixNano()},
		Commands: []fsm.Command{{Kind: fsm.Expire, Name: "stamped", Token: info.Token, Deadline: fsm.Time(0)}, {Kind: fsm.Query, Name: "stamped"}},
	}
	future := leader.ApplyEntry(forged)
	if err := future.Error(); err != nil {
		t.Fatal(err)
	}
	results := future.Response().([]fsm.Result)
	if results[1].Err != nil || results[1].Info.Token != info.Token {
		t.Fatalf("commands of an entry stamped in another term do not apply: %+v", results[1])
	}
	if after := leader.Clock(); time.Duration(after-before) > time.Minute {
		t.Fatalf("its stamp moved the clock from %d to %d", before, after)
	}
}
