package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// atLevelOfThisBuild waits until the log says that all members know what this build does.
func (h *harness) atLevelOfThisBuild() {
	h.t.Helper()
	eventually(h.t, "the log is at the level of this build", func() error {
		for _, n := range h.nodes {
			if level := n.Level(); level != fsm.Level {
				return fmt.Errorf("by %s it is at %d", n.ID(), level)
			}
		}
		return nil
	})
}

// older makes a node that does not run one of the version before.
func (h *harness) older(id string) {
	cfg := h.cfgs[id]
	cfg.Host.Level = fsm.Level - 1
	h.cfgs[id] = cfg
}

// A new node has founded its cluster alone, and nothing new was ever decided. Two nodes of
// the version before, with which it would be a minority, are not taken in: the first
// command that they do not know would end both.
func TestOlderNodesDoNotJoin(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	h.atLevelOfThisBuild()
	for _, id := range []string{"n2", "n3"} {
		h.cfgs[id] = h.joins(id)
		h.older(id)
		node := h.start(id)
		delete(h.nodes, id)
		<-node.Done()
		if err := node.Err(); !errors.Is(err, sema.ErrMembership) || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("%s was taken in: %v", id, err)
		}
	}
	_, err := h.leader().Backend().(transport.Membership).Join(t.Context(), transport.JoinRequest{ID: "n4", RaftAddr: "127.0.0.1:1", Incarnation: [16]byte{4}})
	if !errors.Is(err, sema.ErrMembership) || !strings.Contains(err.Error(), "knows them up to 1") {
		t.Errorf("a node that says no level, which is 1: %v", err)
	}
	if err := onAccount(h.leader(), "job"); err != nil {
		t.Error(err)
	}
}

// Three new nodes have never decided anything new. Those that go back to the version before
// do not start, which says what to do, and start again as they were.
func TestMembersDoNotGoBack(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	h.atLevelOfThisBuild()
	leader := h.leader()
	for id := range h.cfgs {
		if id == leader.ID() {
			continue
		}
		h.close(id)
		is := h.cfgs[id]
		h.older(id)
		node, err := cluster.Open(t.Context(), h.cfgs[id])
		if err == nil {
			node.Close()
			t.Fatalf("%s went back", id)
		}
		if !errors.Is(err, fsm.ErrTooNew) || !strings.Contains(err.Error(), "start this node with the version of semanode") ||
			strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), "remove this node") {
			t.Errorf("%s went back: %v", id, err)
		}
		h.cfgs[id] = is
		h.start(id)
		h.caughtUpWith(id, leader)
	}
	if err := onAccount(h.leader(), "job"); err != nil {
		t.Error(err)
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

// Limits do not count while a member of the version before, or one that is down, may not know
// them. The leader says so and names it, once, and says when they do.
func TestLimitsThatDoNotCountAreTold(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte("identities:\n  - {name: worker, tokens: [\""+worker.Hash().String()+"\"], limits: {holds: 5}}\nrules:\n  - {who: [worker], names: [\"\"], rights: [acquire]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHarness(t, 3, func(c *cluster.Config) {
		c.AccessFile = file
		if c.ID == "n3" {
			c.Host.Level = fsm.LevelAccounts - 1
		}
	})
	for h.leader().ID() == "n3" { // it knows of no limits
		if _, err := h.nodes["n1"].Client().TransferLeadership(t.Context(), "n1"); err != nil {
			t.Log(err)
		}
	}
	saysIn(t, h, `do not count yet`)
	saysIn(t, h, `missing="n3 (older version)"`)
	h.close("n3")
	leader := h.leader()
	if _, err := leader.Client().TransferLeadership(t.Context(), ""); err != nil { // the next one says it anew
		t.Fatal(err)
	}
	saysIn(t, h, `missing="n3 (does not answer)"`)
	if strings.Contains(h.logs.String(), "limits of holds and tickets count from now on") {
		t.Error("limits are said to count")
	}
	cfg := h.cfgs["n3"]
	cfg.Host.Level = 0
	h.cfgs["n3"] = cfg
	h.start("n3")
	saysIn(t, h, "limits of holds and tickets count from now on")
	leaders := strings.Count(h.logs.String(), ": leading: term=")
	if told := strings.Count(h.logs.String(), "do not count yet"); told > leaders {
		t.Errorf("it was said %d times by %d leaders", told, leaders)
	}
}
