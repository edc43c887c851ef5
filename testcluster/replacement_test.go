package testcluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
)

// forgottenVotes has a hold acknowledged by a leader and one follower, which then loses
// its disk and is started again as what it was, by somebody who knows no better. It
// reports whether that one and the third node, which has not heard of the hold, make a
// cluster without the leader, and whether the hold is known when that is back.
func forgottenVotes(t *testing.T, c *Cluster) (elected, known bool) {
	t.Helper()
	cl := c.Client()
	leader := c.Leader().ID()
	c.Eventually("every node takes part", c.founded)
	followers := c.others(leader)
	wrote, away := followers[0], followers[1]
	c.Isolate(away)
	if info, err := cl.Acquire(t.Context(), "a", "holder", time.Hour); err != nil || info.Status != sema.Acquired {
		t.Fatalf("%+v, error %v", info, err)
	}
	c.LoseDisk(wrote)
	m := c.machine(wrote)
	m.mu.Lock()
	m.out, m.joins = false, nil // as if nothing had happened
	m.mu.Unlock()
	c.CutPower(leader)
	c.Heal()
	c.Start(wrote)
	<-time.After(time.Minute)
	elected = c.leading() != nil
	c.Start(leader)
	c.Leader()
	got, err := cl.Get(t.Context(), "a")
	if err != nil && !errors.Is(err, sema.ErrNotFound) {
		t.Fatal(err)
	}
	return elected, err == nil && got.Owner == "holder"
}

// A node that was started on an empty disk as if nothing had happened has no vote.
func TestAnEmptyDiskHasNoVote(t *testing.T) {
	t.Parallel()
	Run(t, Options{}, func(t *testing.T, c *Cluster) {
		if elected, known := forgottenVotes(t, c); elected || !known {
			t.Errorf("the two others elected a leader: %v; the hold is known: %v", elected, known)
		}
	})
}

// Whoever has no vote is not well, and may be struck: nobody needs it.
func TestWhoHasNoVoteIsNotWell(t *testing.T) {
	t.Parallel()
	Run(t, Options{}, func(t *testing.T, c *Cluster) {
		c.Leader()
		c.LoseDisk("n1")
		check := func(when string, n1, n2, all bool) {
			t.Helper()
			for on, want := range map[string]bool{"n1": n1, "n2": n2} {
				if spared(c, on) != want {
					t.Errorf("%s %s may be struck: %v, want %v", when, on, !want, want)
				}
			}
			if allWell(c, "") != all {
				t.Errorf("%s all are well: %v, want %v", when, !all, all)
			}
		}
		check("without a disk", false, false, false)
		c.replace(c.machine("n1"))
		c.Eventually("n1 runs", func() error {
			if c.machine("n1").running() == nil {
				return errors.New("not yet")
			}
			return nil
		})
		check("without a vote", true, false, false)
		c.Start("n1")
		check("with a vote", true, true, true)
	})
}

// A run does not count in which a machine never comes back.
func TestSettlingTellsOfALostDisk(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(c *Cluster)
		want string
	}{
		{"nobody brings it back", func(*Cluster) {}, "n1 has lost its disk and is not a member with a vote again: nobody has brought it back yet"},
		{"it cannot be removed", func(c *Cluster) { c.Kill("n2"); c.replace(c.machine("n1")) }, "n1 has lost its disk and is not a member with a vote again: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			Run(t, Options{ElectionTimeout: 5 * time.Second}, func(t *testing.T, cl *Cluster) {
				cl.Leader()
				cl.LoseDisk("n1")
				c.harm(cl)
				if _, err := cl.settle(); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %s", err, c.want)
				}
			})
		})
	}
}

// An operator who is told that a node cannot come back gives up, and says why.
func TestAnOperatorGivesUp(t *testing.T) {
	t.Parallel()
	Run(t, Options{}, func(t *testing.T, c *Cluster) {
		c.Leader()
		c.LoseDisk("n1")
		m := c.machine("n1")
		m.mu.Lock()
		m.wanted = true
		m.mu.Unlock()
		if err := m.restart(context.Background()); err != nil { // before it was removed
			t.Fatal(err)
		}
		c.Eventually("n1 was refused", func() error {
			if m.running() != nil {
				return errors.New("it still runs")
			}
			return nil
		})
		c.replace(m)
		_, err := c.settle()
		if !errors.Is(err, sema.ErrMembership) || !strings.Contains(err.Error(), "n1 has lost its disk and did not come back: ") {
			t.Errorf("error %v", err)
		}
	})
}
