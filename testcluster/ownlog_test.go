package testcluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/semanode/sema"
)

// ownLog has a leader answer, or not, while its disk stands still and one follower
// writes; then that follower is away, and the leader's machine has lost its power. It
// reports whether the hold was acknowledged, and whether the two others know it.
func ownLog(t *testing.T, c *Cluster) (acknowledged, known bool) {
	t.Helper()
	cl := c.Client()
	leader := c.Leader().ID()
	followers := c.others(leader)
	writes, away := followers[0], followers[1]
	c.Isolate(away)
	c.machine(leader).disk.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	info, err := cl.Acquire(ctx, "a", "holder", time.Hour)
	acknowledged = err == nil && info.Status == sema.Acquired
	c.CutPower(leader)
	c.Kill(writes)
	c.machine(leader).disk.Unstall()
	c.Heal()
	c.Start(leader)
	c.Leader()
	got, err := c.ClientOf(leader).Get(t.Context(), "a")
	if err != nil && !errors.Is(err, sema.ErrNotFound) {
		t.Fatal(err)
	}
	return acknowledged, err == nil && got.Owner == "holder"
}

// A leader's own disk is one of the quorum's: what a single follower has written is not
// acknowledged before the leader has written it too.
func TestLeaderAnswersWhatItHasWritten(t *testing.T) {
	t.Parallel()
	Run(t, Options{}, func(t *testing.T, c *Cluster) {
		if acknowledged, _ := ownLog(t, c); acknowledged {
			t.Error("an acquire was acknowledged that the leader had not written")
		}
	})
}
