package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
)

// harness is a cluster of nodes in this process: real raft over loopback, real
// disks. Its verbs fail the test with what they waited for.
type harness struct {
	t     testing.TB
	cfgs  map[string]cluster.Config
	nodes map[string]*cluster.Node
	logs  *lockedBuffer
}

// newHarness prepares n nodes, n1 to n<n>, and starts none.
func newHarness(t testing.TB, n int, tune func(*cluster.Config)) *harness {
	t.Helper()
	h := &harness{t: t, cfgs: map[string]cluster.Config{}, nodes: map[string]*cluster.Node{}, logs: new(lockedBuffer)}
	dir := t.TempDir()
	var peers []cluster.Peer
	for i := range n {
		peers = append(peers, cluster.Peer{ID: fmt.Sprintf("n%d", i+1), Addr: freeAddr(t)})
	}
	logger := hclog.New(&hclog.LoggerOptions{Output: h.logs, Level: hclog.Debug})
	for _, p := range peers {
		cfg := cluster.Config{ID: p.ID, DataDir: filepath.Join(dir, p.ID), RaftAddr: p.Addr, GRPCAddr: "127.0.0.1:0", Peers: peers, Logger: logger.Named(p.ID),
			ElectionTimeout: time.Second} // a test must not lose its leader because its machine is busy
		if n == 1 {
			cfg.ElectionTimeout = 50 * time.Millisecond // it has only itself to lose
		}
		if tune != nil {
			tune(&cfg)
		}
		h.cfgs[p.ID] = cfg
	}
	t.Cleanup(func() {
		for id := range h.nodes {
			h.close(id)
		}
		if t.Failed() {
			t.Logf("logs of the nodes:\n%s", h.logs.String())
		}
	})
	return h
}

// startHarness starts n nodes and waits for a leader, and for the entry that says which
// level of the log all know: it would come between those that a test counts.
func startHarness(t testing.TB, n int, tune func(*cluster.Config)) *harness {
	t.Helper()
	h := newHarness(t, n, tune)
	for id := range h.cfgs {
		h.start(id)
	}
	for _, cfg := range h.cfgs {
		if cfg.Host.Level != 0 { // one that knows less
			h.leader()
			return h
		}
	}
	eventually(t, "the log has its level", func() error {
		if leader := h.leading(); leader == nil || leader.Level() != fsm.Level {
			return errors.New("it has not")
		}
		return nil
	})
	return h
}

func (h *harness) start(id string) *cluster.Node {
	h.t.Helper()
	node, err := cluster.Open(context.Background(), h.cfgs[id])
	if err != nil {
		h.t.Fatalf("open %s: %v", id, err)
	}
	h.nodes[id] = node
	return node
}

func (h *harness) close(id string) {
	h.t.Helper()
	if err := h.nodes[id].Close(); err != nil {
		h.t.Errorf("close %s: %v", id, err)
	}
	delete(h.nodes, id)
}

func (h *harness) kill(id string) {
	h.nodes[id].Kill()
	delete(h.nodes, id)
}

// leader waits until one of the running nodes leads.
func (h *harness) leader() *cluster.Node {
	h.t.Helper()
	var leader *cluster.Node
	eventually(h.t, "a node leads", func() error {
		if leader = h.leading(); leader == nil {
			return errors.New("none does")
		}
		return nil
	})
	return leader
}

// leading returns the running node that leads now, or nil.
func (h *harness) leading() *cluster.Node {
	for _, n := range h.nodes {
		if n.IsLeader() {
			return n
		}
	}
	return nil
}

// follower returns a running node that does not lead and knows who does.
func (h *harness) follower() *cluster.Node {
	h.t.Helper()
	leader := h.leader()
	for _, n := range h.nodes {
		if n != leader {
			eventually(h.t, n.ID()+" knows the leader and its address", func() error {
				if l := n.Leader(); l.ID != leader.ID() || l.GRPCAddr != leader.GRPCAddr() {
					return fmt.Errorf("it knows %+v", l)
				}
				return nil
			})
			return n
		}
	}
	h.t.Fatal("no follower")
	return nil
}

// eventually waits for a named condition.
func eventually(t testing.TB, name string, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited for %q in vain: %v", name, err)
		}
	}
}

// freeAddr returns an address that nobody listens at: below the ports that the operating
// system gives to connections, one of which could have it by the time it is used.
func freeAddr(t testing.TB) string {
	t.Helper()
	const lowest, ephemeral = 10_000, 32_768
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+rand.IntN(ephemeral-lowest)))
		if _, again := drawn.LoadOrStore(addr, true); again {
			continue
		}
		if lis, err := net.Listen("tcp", addr); err == nil {
			lis.Close()
			return addr
		}
	}
}

var drawn sync.Map // addresses that a test has, whether it listens or not

func acquire(t testing.TB, svc sema.Service, name, owner string, timeout time.Duration) sema.Info {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	info, err := svc.Acquire(ctx, name, owner, timeout)
	if err != nil {
		t.Fatalf("acquire %s: %v", name, err)
	}
	return info
}

// lockedBuffer is an io.Writer for many goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf []byte
}

var _ io.Writer = (*lockedBuffer)(nil)

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.buf)
}
