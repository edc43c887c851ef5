package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// onAccount acquires by who may have no hold at all, if that is told to the state machine.
func onAccount(n *cluster.Node, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := n.Backend().Acquire(ctx, transport.AcquireRequest{Name: name, Owner: "x", Timeout: time.Minute,
		Account: &transport.Account{Identity: "ci", AllHolds: 1}})
	return err
}

// TestUpgrade has a node of the version before among three: what that one does not know is
// not proposed, so it goes on, and once it is of this version, all is.
func TestUpgrade(t *testing.T) {
	h := startHarness(t, 3, func(c *cluster.Config) {
		if c.ID == "n3" {
			c.Host.Level = fsm.LevelAccounts - 1
		}
	})
	ctx := context.Background()
	lead := func() *cluster.Node { // not the old one: it would propose nothing new anyway
		t.Helper()
		if h.leader().ID() == "n3" {
			if _, err := h.nodes["n1"].Client().TransferLeadership(ctx, "n1"); err != nil {
				t.Fatal(err)
			}
		}
		var leader *cluster.Node
		eventually(t, "a new node leads", func() error {
			if leader = h.leader(); leader.ID() == "n3" {
				return errors.New("the old one does")
			}
			return nil
		})
		return leader
	}
	for i := range 3 { // limits wait for the upgrade, callers do not
		if err := onAccount(lead(), fmt.Sprintf("before/%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	h.caughtUpWith("n3", lead())
	if err := h.nodes["n3"].Err(); err != nil {
		t.Fatalf("the old node met what it does not know: %v", err)
	}

	h.close("n3")
	cfg := h.cfgs["n3"]
	cfg.Host.Level = 0
	h.cfgs["n3"] = cfg
	h.start("n3")
	tries := 0
	eventually(t, "limits count", func() error {
		tries++
		if err := onAccount(lead(), fmt.Sprintf("after/%d", tries)); !errors.Is(err, sema.ErrLimit) {
			return fmt.Errorf("an acquire beyond them came to %v", err)
		}
		return nil
	})
	// From now on the log has what an old build cannot decide: it is not let back in silence.
	h.joins("n4")
	old := h.cfgs["n4"]
	old.Host.Level, old.DataDir = fsm.LevelAccounts-1, filepath.Join(t.TempDir(), "n4")
	node, err := cluster.Open(ctx, old)
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	<-node.Done()
	if err := node.Err(); !errors.Is(err, sema.ErrMembership) || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("a node of the version before was taken in: %v", err)
	}
}

// caughtUpWith waits until a node has applied what another one has.
func (h *harness) caughtUpWith(id string, with *cluster.Node) {
	h.t.Helper()
	want := with.AppliedIndex()
	eventually(h.t, id+" has caught up", func() error {
		if got := h.nodes[id].AppliedIndex(); got < want {
			return fmt.Errorf("it is at %d of %d", got, want)
		}
		return nil
	})
}
