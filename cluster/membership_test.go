package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// joins prepares a node that is to become a member of the cluster that runs.
func (h *harness) joins(id string) cluster.Config {
	h.t.Helper()
	cfg := cluster.Config{ID: id, DataDir: filepath.Join(h.t.TempDir(), id), RaftAddr: freeAddr(h.t), GRPCAddr: "127.0.0.1:0", ElectionTimeout: time.Second}
	for other, c := range h.cfgs {
		cfg.Logger = c.Logger.ResetNamed(id)
		if h.nodes[other] != nil {
			cfg.Join = append(cfg.Join, h.nodes[other].RaftAddr())
		}
	}
	h.cfgs[id] = cfg
	return cfg
}

// voters returns the ids of the members with a vote, as the leader has them.
func (h *harness) voters() (ids []string) {
	h.t.Helper()
	st, err := h.leader().Backend().Status(context.Background(), transport.StatusRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, n := range st.Nodes {
		if n.Voter {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// becomes waits until these, and no others, have a vote.
func (h *harness) becomes(ids ...string) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%v have a vote", ids), func() error {
		if got := h.voters(); !slices.Equal(got, ids) {
			return fmt.Errorf("%v have", got)
		}
		return nil
	})
}

// remove takes a node out, whichever leads, and waits until it knows.
func (h *harness) remove(id string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var asked *cluster.Node // one that stays
	for other, n := range h.nodes {
		if other != id {
			asked = n
		}
	}
	if err := asked.Client().RemoveNode(ctx, id, false); err != nil {
		h.t.Fatalf("remove %s: %v", id, err)
	}
	node := h.nodes[id]
	select {
	case <-node.Done():
	case <-ctx.Done():
		h.t.Fatalf("%s was removed and goes on", id)
	}
	if err := node.Err(); !errors.Is(err, cluster.ErrRemoved) {
		h.t.Errorf("%s ended because of %v, want ErrRemoved", id, err)
	}
	delete(h.nodes, id)
}

// TestMembershipChangesUnderLoad goes from one node to three to five, to three other
// ones and back to one, while clients acquire, touch and release: no hold that was
// acknowledged is lost, and tokens only rise.
func TestMembershipChangesUnderLoad(t *testing.T) {
	h := startHarness(t, 1, func(c *cluster.Config) { c.ElectionTimeout = time.Second })
	c, err := client.New(client.Config{Endpoints: []string{h.nodes["n1"].GRPCAddr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	load := startLoad(t, c)
	kept := acquire(t, c, "kept", "from beginning to end", time.Hour)

	for _, id := range []string{"n2", "n3"} {
		h.joins(id)
		h.start(id)
	}
	h.becomes("n1", "n2", "n3")
	for _, id := range []string{"n4", "n5"} {
		h.joins(id)
		h.start(id)
	}
	h.becomes("n1", "n2", "n3", "n4", "n5")
	h.remove("n1") // the founder, which may lead
	h.remove("n2")
	h.becomes("n3", "n4", "n5")
	h.remove("n3")
	h.remove(h.leader().ID()) // at last two, and then the one that leads
	if len(h.nodes) != 1 {
		t.Fatalf("%d nodes are left", len(h.nodes))
	}
	cycles, gap := load.stop()
	t.Logf("%d cycles; the longest took %v", cycles, gap)
	for id := range h.nodes {
		info, err := h.leader().Get(context.Background(), "kept")
		if err != nil || info.Token != kept.Token {
			t.Errorf("%s has %+v, %v, of what was acquired at the beginning: %+v", id, info, err, kept)
		}
	}
}

// memberLoad is clients that acquire and release.
type memberLoad struct {
	t      *testing.T
	cancel context.CancelFunc
	wg     sync.WaitGroup
	cycles atomic.Int64
	gap    atomic.Int64 // the longest cycle, ns
}

func startLoad(t *testing.T, c *client.Client) *memberLoad {
	ctx, cancel := context.WithCancel(context.Background())
	l := &memberLoad{t: t, cancel: cancel}
	for w := range 8 {
		l.wg.Go(func() { l.work(ctx, c, fmt.Sprintf("load/%d", w)) })
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *memberLoad) work(ctx context.Context, c *client.Client, name string) {
	var last uint64
	for ctx.Err() == nil {
		began := time.Now()
		err := func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			info, err := c.Acquire(ctx, name, "load", time.Minute)
			if err != nil {
				return fmt.Errorf("acquire: %w", err)
			}
			if info.Status != sema.Acquired || info.Token <= last {
				return fmt.Errorf("%v with token %d after %d", info.Status, info.Token, last)
			}
			last = info.Token
			if _, err := c.Touch(ctx, name); err != nil { // it was acknowledged, so it must be there
				return fmt.Errorf("touch: %w", err)
			}
			return c.Release(ctx, name)
		}()
		if err != nil {
			l.t.Errorf("%s: %v", name, err)
			return
		}
		l.cycles.Add(1)
		for took := int64(time.Since(began)); ; {
			if longest := l.gap.Load(); took <= longest || l.gap.CompareAndSwap(longest, took) {
				break
			}
		}
	}
}

// stop ends the load, and is idempotent.
func (l *memberLoad) stop() (cycles int64, longest time.Duration) {
	l.cancel()
	l.wg.Wait()
	return l.cycles.Load(), time.Duration(l.gap.Load())
}

// TestWipedDiskDoesNotVote: a founding member that comes back with an empty disk takes
// no part in its cluster, neither as what it was nor by joining, until it was removed.
func TestWipedDiskDoesNotVote(t *testing.T) {
	h := startHarness(t, 3, nil)
	leader := h.leader()
	wiped := "n1"
	if leader.ID() == wiped {
		wiped = "n2"
	}
	acquire(t, leader, "a", "x", time.Hour)
	h.kill(wiped)
	cfg := h.cfgs[wiped]
	wipe := func() {
		t.Helper()
		if err := os.RemoveAll(cfg.DataDir); err != nil {
			t.Fatal(err)
		}
	}
	wipe()
	h.start(wiped)
	saysIn(t, h, "knows node "+wiped+" by another disk")
	// Without its vote there is no majority when another one goes.
	var other string
	for id := range h.nodes {
		if id != wiped && id != leader.ID() {
			other = id
		}
	}
	h.kill(other)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	if _, err := leader.Client().Acquire(ctx, "b", "x", time.Hour); err == nil {
		t.Error("something was decided with the vote of a disk that was lost")
	}
	cancel()
	h.start(other)
	h.leader()

	h.close(wiped)
	wipe()
	founding := cfg.Peers
	cfg.Peers = nil
	for id, n := range h.nodes {
		if id != wiped {
			cfg.Join = append(cfg.Join, n.RaftAddr())
		}
	}
	h.cfgs[wiped] = cfg
	node := h.start(wiped)
	<-node.Done() // it is told that it cannot be
	if err := node.Err(); !errors.Is(err, sema.ErrMembership) || !strings.Contains(err.Error(), "semanode remove "+wiped) {
		t.Errorf("a member with another disk was refused with %v", err)
	}
	delete(h.nodes, wiped)

	ctx, cancel = context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.leader().Client().RemoveNode(ctx, wiped, false); err != nil {
		t.Fatal(err)
	}
	h.start(wiped) // with the directory that it has claimed to join
	h.becomes("n1", "n2", "n3")
	h.close(wiped)
	cfg.Join, cfg.Peers = nil, nil
	h.cfgs[wiped] = cfg
	h.start(wiped) // the directory knows
	h.becomes("n1", "n2", "n3")
	h.close(wiped)
	cfg.Peers = founding // as the operator's configuration may still have it
	h.cfgs[wiped] = cfg
	h.start(wiped)
	h.becomes("n1", "n2", "n3")
	if info, err := h.nodes[wiped].Client().Get(ctx, "a"); err != nil || info.Owner != "x" {
		t.Errorf("it has %+v, %v", info, err)
	}
}

// saysIn waits for a line in the nodes' logs.
func saysIn(t *testing.T, h *harness, text string) {
	t.Helper()
	eventually(t, "the log says "+text, func() error {
		if !strings.Contains(h.logs.String(), text) {
			return errors.New("it does not")
		}
		return nil
	})
}

// TestNodeMoves: a node comes back at another address, a founder and one that joined.
func TestNodeMoves(t *testing.T) {
	h := startHarness(t, 3, nil)
	h.joins("n4")
	h.start("n4")
	h.becomes("n1", "n2", "n3", "n4")
	for _, id := range []string{"n1", "n4"} {
		h.close(id)
		cfg := h.cfgs[id]
		cfg.RaftAddr = freeAddr(t)
		cfg.RaftAdvertise = cfg.RaftAddr
		h.cfgs[id] = cfg
		node := h.start(id)
		eventually(t, id+" is known at its new address, and follows or leads", func() error {
			st, err := h.leader().Backend().Status(context.Background(), transport.StatusRequest{})
			if err != nil {
				return err
			}
			for _, n := range st.Nodes {
				if n.ID == id && n.RaftAddr == node.RaftAddr() && n.Err == "" && n.AppliedIndex > 0 {
					return nil
				}
			}
			return fmt.Errorf("%+v", st.Nodes)
		})
	}
	h.becomes("n1", "n2", "n3", "n4")
}

// TestMembershipIsRefused goes through what cannot be.
func TestMembershipIsRefused(t *testing.T) {
	h := startHarness(t, 3, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := h.follower().Client()
	if err := c.RemoveNode(ctx, "n9", false); !errors.Is(err, sema.ErrNotFound) {
		t.Errorf("removing nobody: %v", err)
	}
	if err := c.RemoveNode(ctx, "", false); !errors.Is(err, sema.ErrInvalid) {
		t.Errorf("removing nothing: %v", err)
	}
	if _, err := c.TransferLeadership(ctx, "n9"); !errors.Is(err, sema.ErrNotFound) {
		t.Errorf("making nobody lead: %v", err)
	}
	members := h.leader().Backend().(transport.Membership)
	for name, c := range map[string]struct {
		req  transport.JoinRequest
		want error
	}{
		"another disk":           {transport.JoinRequest{ID: "n1", Incarnation: [16]byte{1}, RaftAddr: "127.0.0.1:1", Level: fsm.Level}, sema.ErrMembership},
		"another's address":      {transport.JoinRequest{ID: "n9", Incarnation: [16]byte{1}, RaftAddr: h.nodes["n1"].RaftAddr(), Level: fsm.Level}, sema.ErrMembership},
		"a founder that is none": {transport.JoinRequest{ID: "n9", RaftAddr: "127.0.0.1:1", Level: fsm.Level}, sema.ErrMembership},
		"no id":                  {transport.JoinRequest{Incarnation: [16]byte{1}, RaftAddr: "127.0.0.1:1", Level: fsm.Level}, sema.ErrInvalid},
		"an id with a sign":      {transport.JoinRequest{ID: "n@1", Incarnation: [16]byte{1}, RaftAddr: "127.0.0.1:1", Level: fsm.Level}, sema.ErrInvalid},
		"no address":             {transport.JoinRequest{ID: "n9", Incarnation: [16]byte{1}, Level: fsm.Level}, sema.ErrInvalid},
	} {
		if _, err := members.Join(ctx, c.req); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	h.becomes("n1", "n2", "n3")

	// With one of three gone, the other cannot be removed.
	var gone, other string
	for id := range h.nodes {
		switch {
		case id == h.leader().ID():
		case gone == "":
			gone = id
		default:
			other = id
		}
	}
	h.kill(gone)
	if err := h.leader().Client().RemoveNode(ctx, other, false); !errors.Is(err, sema.ErrMembership) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("removing the one that is needed: %v", err)
	}
	if err := h.leader().Client().RemoveNode(ctx, gone, false); err != nil { // but the one that is gone can
		t.Error(err)
	}
}

// TestLeadershipIsTransferred to whom it was asked for, by any node.
func TestLeadershipIsTransferred(t *testing.T) {
	h := startHarness(t, 3, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	to := h.follower().ID()
	c := h.nodes[to].Client()
	for range 2 { // the second time it leads already
		if leader, err := c.TransferLeadership(ctx, to); err != nil || leader != to {
			t.Fatalf("%q leads, %v, want %q", leader, err, to)
		}
	}
	if leader, err := c.TransferLeadership(ctx, ""); err != nil || leader == to || leader == "" {
		t.Fatalf("%q leads, %v, want another than %q", leader, err, to)
	}
	acquire(t, c, "a", "x", time.Minute)
}

// TestJoiningNeedsAnAddress that means something to others.
func TestJoiningNeedsAnAddress(t *testing.T) {
	h := startHarness(t, 1, nil)
	cfg := h.joins("n2")
	cfg.RaftAddr, cfg.Insecure = ":0", true
	if _, err := cluster.Open(context.Background(), cfg); !errors.Is(err, sema.ErrInvalid) || !strings.Contains(err.Error(), "raft-advertise") {
		t.Errorf("a node at any host was opened: %v", err)
	}
	cfg.RaftAddr, cfg.Peers = freeAddr(t), h.cfgs["n1"].Peers
	cfg.Peers = append(slices.Clone(cfg.Peers), cluster.Peer{ID: "n2", Addr: cfg.RaftAddr})
	if _, err := cluster.Open(context.Background(), cfg); !errors.Is(err, sema.ErrInvalid) || !strings.Contains(err.Error(), "join") {
		t.Errorf("a node that is to found and to join was opened: %v", err)
	}
}

// TestJoiningNobody ends with the context that bounds the opening, and leaves a directory
// that can be used for anything.
func TestJoiningNobody(t *testing.T) {
	h := newHarness(t, 1, nil)
	cfg := h.joins("n2")
	cfg.Join = []string{freeAddr(t)}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := cluster.Open(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody was joined: %v", err)
	}
	if _, err := cluster.ReadFounding(cfg.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory was claimed: %v", err)
	}
}

// TestSoleFounderLosesItsDisk: nobody founded with it, so nobody can tell it at the door. What
// it founds anew is another cluster, and it ends when its old one asks for it.
func TestSoleFounderLosesItsDisk(t *testing.T) {
	h := startHarness(t, 1, func(c *cluster.Config) { c.ElectionTimeout = time.Second })
	for _, id := range []string{"n2", "n3"} {
		h.joins(id)
		h.start(id)
	}
	h.becomes("n1", "n2", "n3")
	before, err := h.nodes["n2"].Backend().Status(context.Background(), transport.StatusRequest{NodeOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	money := acquire(t, h.leader().Client(), "money", "alice", time.Hour)
	h.kill("n1")
	if err := os.RemoveAll(h.cfgs["n1"].DataDir); err != nil {
		t.Fatal(err)
	}
	again := h.start("n1")
	eventually(t, "n1 ends", func() error {
		if again.Err() == nil {
			return errors.New("it goes on")
		}
		return nil
	})
	if err := again.Err(); !errors.Is(err, cluster.ErrFoundedAgain) {
		t.Errorf("n1 ended because of %v", err)
	}
	<-again.Done()
	delete(h.nodes, "n1")
	after, err := h.nodes["n2"].Backend().Status(context.Background(), transport.StatusRequest{NodeOnly: true})
	if err != nil || after.ClusterID != before.ClusterID {
		t.Errorf("the cluster is %q, %v, and was %q", after.ClusterID, err, before.ClusterID)
	}
	for id, n := range h.nodes { // neither follows what n1 has founded
		if info, err := n.Client().Get(context.Background(), "money"); err != nil || info.Token != money.Token || info.Owner != "alice" {
			t.Errorf("%s has %+v, %v", id, info, err)
		}
	}
}

// TestNamedClusterIsJoinedWithoutItsName, which a node learns, and keeps.
func TestNamedClusterIsJoinedWithoutItsName(t *testing.T) {
	h := startHarness(t, 1, func(c *cluster.Config) { c.ClusterName = "prod" })
	h.joins("n2")
	h.start("n2")
	h.becomes("n1", "n2")
	h.close("n2")
	h.start("n2") // with the very same configuration
	h.becomes("n1", "n2")
	h.close("n2")
	cfg := h.cfgs["n2"]
	cfg.ClusterName = "test"
	if _, err := cluster.Open(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), `"prod", not to "test"`) {
		t.Errorf("it was opened as one of another cluster: %v", err)
	}
	h.start("n2")
}

// TestNodesJoinAtTheRaftPort, not where clients are.
func TestNodesJoinAtTheRaftPort(t *testing.T) {
	h := startHarness(t, 1, nil)
	conn, err := grpc.NewClient(h.nodes["n1"].GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = semav1.NewSemaClient(conn).Join(ctx, &semav1.JoinRequest{Id: "n9", Incarnation: make([]byte, 16), RaftAddr: "192.0.2.1:1"})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a client took in a node: %v", err)
	}
	h.becomes("n1")
}

// TestRemovedDiskDoesNotMove: the request by which a node that moved makes itself known takes
// nobody in.
func TestRemovedDiskDoesNotMove(t *testing.T) {
	h := startHarness(t, 3, nil)
	members := h.leader().Backend().(transport.Membership)
	_, err := members.Join(context.Background(), transport.JoinRequest{ID: "n4", Incarnation: [16]byte{4}, RaftAddr: "127.0.0.1:1", Moves: true, Level: fsm.Level})
	if !errors.Is(err, sema.ErrNotFound) {
		t.Errorf("what is no member has moved: %v", err)
	}
	h.becomes("n1", "n2", "n3")
}

// TestARemovalIsOfOneMember: delivered again, it does nothing to the member that the node
// has become with another disk; one without a name takes out whichever it is.
func TestARemovalIsOfOneMember(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	h.kill("n1")
	leads := func() transport.Membership { return h.leader().Backend().(transport.Membership) }
	var name string
	again := func(do func() error) {
		t.Helper()
		eventually(t, "a leader answers", func() error {
			if err := do(); errors.Is(err, sema.ErrNotLeader) {
				return err
			} else if err != nil {
				t.Fatal(err)
			}
			return nil
		})
	}
	again(func() (err error) { name, err = leads().Member(ctx, "n1"); return err })
	first := transport.RemoveRequest{ID: "n1", Member: name}
	again(func() error { return leads().Remove(ctx, first) })
	if _, err := leads().Member(ctx, "n1"); !errors.Is(err, sema.ErrNotFound) {
		t.Errorf("it was removed, and its name comes to %v", err)
	}
	if err := os.RemoveAll(h.cfgs["n1"].DataDir); err != nil {
		t.Fatal(err)
	}
	h.joins("n1")
	h.start("n1")
	h.becomes("n1", "n2", "n3")
	if err := leads().Remove(ctx, first); !errors.Is(err, sema.ErrNotFound) || !strings.Contains(err.Error(), "new disk") {
		t.Errorf("the first removal, delivered again, came to %v", err)
	}
	if now, err := leads().Member(ctx, "n1"); err != nil || now == name || !strings.HasPrefix(now, "n1@") {
		t.Errorf("it is %q, error %v, and was %q", now, err, name)
	}
	h.becomes("n1", "n2", "n3")
	if err := leads().Remove(ctx, transport.RemoveRequest{ID: "n1"}); err != nil { // as an old client asks
		t.Fatal(err)
	}
	h.becomes("n2", "n3")
	<-h.nodes["n1"].Done()
	delete(h.nodes, "n1")
}
