package testcluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/testcluster/internal/gate"
	"github.com/semanode/sema/testcluster/internal/memdisk"
	"github.com/semanode/sema/testcluster/internal/memnet"
	"github.com/semanode/sema/transport"
)

// Cluster is a cluster inside a test. Its verbs fail the test with what they
// waited for. Safe for use by many goroutines.
type Cluster struct {
	tb       testing.TB
	opts     Options
	began    time.Time
	net      *memnet.Network
	logs     *logbook
	logger   hclog.Logger
	journal  *journal
	machines []*machine // fixed after New
	closed   atomic.Bool

	mu      sync.Mutex
	clients []*Client
	lifts   map[int]func() // what ends the cuts of the network that verbs made
	cuts    int
	// What brings back machines whose disk was lost. See replacement.go.
	caretaker *Client
	service   context.Context
	dismiss   context.CancelFunc
	operators sync.WaitGroup // begun with mu held, before dismiss
}

// The ports of every machine that runs a node.
const (
	raftPort = "7373"
	grpcPort = "7400"
)

// Run runs a test in virtual time: inside a bubble of [synctest], with a cluster
// that is started before and stopped after.
func Run(t *testing.T, opts Options, test func(t *testing.T, c *Cluster)) {
	t.Helper()
	bubble(t, func(t *testing.T) { test(t, New(t, opts)) })
}

// New starts a cluster, which ends with the test. It does not wait for a leader.
// In a bubble of [synctest] its time is virtual; outside, real.
func New(tb testing.TB, opts Options) *Cluster {
	tb.Helper()
	opts, err := opts.withDefaults()
	if err != nil {
		tb.Fatal(err)
	}
	c := &Cluster{
		tb:      tb,
		opts:    opts,
		began:   time.Now(),
		net:     memnet.New(memnet.Latency{Min: opts.MinLatency, Max: opts.MaxLatency}, opts.Seed),
		logs:    new(logbook),
		journal: newJournal(),
		lifts:   map[int]func(){},
	}
	c.service, c.dismiss = context.WithCancel(context.Background())
	c.logger = hclog.New(&hclog.LoggerOptions{Output: c.logs, Level: opts.LogLevel})
	c.install()
	tb.Cleanup(c.close)
	for _, m := range c.machines {
		if err := m.start(context.Background()); err != nil {
			tb.Fatal(err)
		}
	}
	return c
}

// install sets up the machines.
func (c *Cluster) install() {
	var peers []cluster.Peer
	for i := range c.opts.Nodes {
		id := fmt.Sprintf("n%d", i+1)
		peers = append(peers, cluster.Peer{ID: id, Addr: id + ":" + raftPort})
	}
	dir := ""
	if c.opts.OnDisk {
		dir = c.tb.TempDir()
	}
	for i, p := range peers {
		m := &machine{id: p.ID, harm: newRaftHarm(c.opts.Seed + uint64(i)), disk: new(memdisk.Disk)}
		m.disk.SetGate(m.gate.Pass)
		m.disk.OnStore(func(entries []*raft.Log) { c.journal.take(m.id, entries) })
		m.net = c.net.Host(p.ID, &m.gate)
		m.clock = newClock(&m.gate)
		m.cfg = cluster.Config{
			ID: p.ID, RaftAddr: p.Addr, GRPCAddr: p.ID + ":" + grpcPort, Peers: peers,
			ElectionTimeout: c.opts.ElectionTimeout,
			Logger:          gatedLogger{c.logger.Named(p.ID), &m.gate},
			Host:            m.host(c.opts.OnDisk),
		}
		if dir != "" {
			m.cfg.DataDir, m.cfg.LogStore = filepath.Join(dir, p.ID), c.opts.LogStore
			m.cfg.LogSegmentSize = 256 << 10 // small: a test comes to the end of many
		}
		if c.opts.Tune != nil {
			c.opts.Tune(&m.cfg)
		}
		c.machines = append(c.machines, m)
	}
}

// close ends everything. It is the test's cleanup.
func (c *Cluster) close() {
	defer c.closed.Store(true)
	c.Heal()
	c.mu.Lock()
	clients := c.clients
	c.dismiss()
	c.mu.Unlock()
	for _, cl := range clients {
		c.closeClient(cl)
	}
	c.every(func(m *machine) {
		m.kill(false)
		m.harm.close()
	})
	c.operators.Wait()
	if c.caretaker != nil {
		c.closeClient(c.caretaker)
	}
	_ = c.net.Close() // it has no errors
	if c.tb.Failed() {
		c.tb.Logf("seed %d; logs of the nodes:\n%s", c.opts.Seed, c.logs)
	}
}

func (c *Cluster) closeClient(cl *Client) {
	cl.gate.Open()
	cl.calls.close()
	if err := cl.Client.Close(); err != nil {
		c.tb.Errorf("closing a client: %v", err)
	}
}

// Seed returns the seed that was given or drawn.
func (c *Cluster) Seed() uint64 { return c.opts.Seed }

// Elapsed is how long ago the cluster was started.
func (c *Cluster) Elapsed() time.Duration { return time.Since(c.began) }

// IDs returns the ids of all nodes, in order.
func (c *Cluster) IDs() []string {
	ids := make([]string, len(c.machines))
	for i, m := range c.machines {
		ids[i] = m.id
	}
	return ids
}

// Node returns a node, or nil if it does not run now.
func (c *Cluster) Node(id string) *cluster.Node {
	c.tb.Helper()
	return c.machine(id).running()
}

func (c *Cluster) machine(id string) *machine {
	c.tb.Helper()
	c.alive()
	for _, m := range c.machines {
		if m.id == id {
			return m
		}
	}
	c.tb.Fatalf("there is no node %q; there are %v", id, c.IDs())
	return nil
}

// Leader waits until one of the running nodes leads, and returns it.
func (c *Cluster) Leader() *cluster.Node {
	c.tb.Helper()
	var leader *cluster.Node
	c.Eventually("a node leads", func() error {
		if leader = c.leading(); leader == nil {
			return errors.New("none does")
		}
		return nil
	})
	return leader
}

// nodeStatus is what a node says of itself.
func nodeStatus(n *cluster.Node) transport.NodeStatus {
	st, _ := n.Backend().Status(context.Background(), transport.StatusRequest{NodeOnly: true}) // has no errors of its own
	return st.Nodes[0]
}

// gate returns that of a machine, a node's or a client's.
func (c *Cluster) gate(name string) *gate.Gate {
	c.tb.Helper()
	c.mu.Lock()
	for _, cl := range c.clients {
		if cl.Name == name {
			c.mu.Unlock()
			return &cl.gate
		}
	}
	c.mu.Unlock()
	return &c.machine(name).gate
}

// leading returns the node that leads now, or nil. If two believe it, because one
// was cut off, it is the one of the later term.
func (c *Cluster) leading() *cluster.Node {
	var leader *cluster.Node
	term := uint64(0)
	for _, m := range c.machines {
		n := m.running()
		if n == nil || m.gate.IsShut() || !n.IsLeader() {
			continue
		}
		if t := nodeStatus(n).Term; leader == nil || t > term {
			leader, term = n, t
		}
	}
	return leader
}

// Follower waits until a running node follows a leader, and returns it.
func (c *Cluster) Follower() *cluster.Node {
	c.tb.Helper()
	var follower *cluster.Node
	c.Eventually("a node follows a leader", func() error {
		leader := c.Leader()
		for _, m := range c.machines {
			if n := m.running(); n != nil && n != leader && !m.gate.IsShut() && n.Leader().ID == leader.ID() && n.Leader().GRPCAddr != "" {
				follower = n
				return nil
			}
		}
		return errors.New("none does")
	})
	return follower
}

// alive panics if the test is over: what ran on the cluster is gone, and nobody is
// left to be told.
func (c *Cluster) alive() {
	if c.closed.Load() {
		panic("testcluster: the cluster has ended with its test")
	}
}

// patience is how long Eventually waits: far longer than anything here takes.
const patience = 5 * time.Minute

// Eventually waits for a named condition, up to five minutes of the test's time, and
// fails the test with its last answer.
func (c *Cluster) Eventually(name string, holds func() error) {
	c.tb.Helper()
	if err := c.await(name, holds); err != nil {
		c.tb.Fatal(err)
	}
}

func (c *Cluster) await(name string, holds func() error) error {
	c.alive()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := holds()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-deadline.C:
			return fmt.Errorf("waited %v for %q in vain: %w", patience, name, err)
		}
	}
}

// Client returns a client of the whole cluster, on a machine of its own. It is
// closed with the cluster.
func (c *Cluster) Client() *Client {
	c.tb.Helper()
	return c.ClientOf(c.IDs()...)
}

// ClientOf returns a client that knows these nodes only; others it may learn of.
func (c *Cluster) ClientOf(ids ...string) *Client {
	c.tb.Helper()
	var endpoints []string
	for _, id := range ids {
		endpoints = append(endpoints, c.machine(id).id+":"+grpcPort)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	cl, err := c.newClient(fmt.Sprintf("c%d", len(c.clients)+1), c.opts.Seed+uint64(len(c.clients)), endpoints)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.clients = append(c.clients, cl)
	return cl
}

// newClient makes a client on a machine of this name.
func (c *Cluster) newClient(name string, seed uint64, endpoints []string) (cl *Client, err error) {
	cl = &Client{Name: name}
	cl.net = c.net.Host(name, &cl.gate)
	cl.calls = newCalls(seed, func() {
		c.net.Reset(func(a, _ string) bool { return a == name })
	})
	cl.Client, err = client.New(client.Config{
		Endpoints:   endpoints,
		Logger:      gatedLogger{c.logger.Named(cl.Name), &cl.gate},
		DialOptions: cl.dialOptions(),
	})
	return cl, err
}

func drawSeed() uint64 { return rand.Uint64N(1<<32) + 1 }

// others returns the ids of all nodes but these.
func (c *Cluster) others(ids ...string) []string {
	return slices.DeleteFunc(c.IDs(), func(id string) bool { return slices.Contains(ids, id) })
}
