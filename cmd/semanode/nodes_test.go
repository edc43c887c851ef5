package main

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/transport"
)

// nodes is a cluster of processes, one semanode serve each.
type nodes struct {
	t         testing.TB
	dir       string
	raft      []string // addresses
	grpc      []string
	metrics   []string // nil without
	more      []string // flags
	processes []*process
}

// startNodes starts n nodes and waits until each has said that it is ready.
func startNodes(t testing.TB, n int, more ...string) *nodes {
	t.Helper()
	c := newNodes(t, n, more...)
	c.startAll()
	return c
}

// newNodes are n nodes that are yet to be started.
func newNodes(t testing.TB, n int, more ...string) *nodes {
	c := &nodes{t: t, dir: t.TempDir(), more: more, processes: make([]*process, n)}
	for range n {
		c.raft = append(c.raft, freeAddr())
		c.grpc = append(c.grpc, freeAddr())
	}
	return c
}

func (c *nodes) startAll() {
	c.t.Helper()
	for i := range c.processes {
		c.start(i)
	}
	for _, p := range c.processes {
		p.says("is ready")
	}
}

// start starts node i, which must not run.
func (c *nodes) start(i int) {
	c.t.Helper()
	c.processes[i] = start(c.t, append(c.args(i), c.more...)...)
}

// args is the command line of node i.
func (c *nodes) args(i int) []string {
	args := []string{"serve", "--id", localID(i), "--data-dir", filepath.Join(c.dir, localID(i)), "--peers", c.peers(),
		"--raft-addr", c.raft[i], "--grpc-addr", c.grpc[i], "--log-level", "error"}
	if c.metrics != nil {
		args = append(args, "--metrics-addr", c.metrics[i])
	}
	return args
}

func (c *nodes) peers() string {
	peers := make([]string, len(c.raft))
	for i, addr := range c.raft {
		peers[i] = localID(i) + "=" + addr
	}
	return strings.Join(peers, ",")
}

// endpoints is what --endpoints takes.
func (c *nodes) endpoints() string { return strings.Join(c.grpc, ",") }

// client returns a client that knows all nodes.
func (c *nodes) client() *client.Client {
	c.t.Helper()
	cl, err := client.New(client.Config{Endpoints: c.grpc})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { cl.Close() })
	return cl
}

// status is the cluster's, as the first node that answers sees it.
func (c *nodes) status(cl *client.Client) transport.ClusterStatus {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	st, err := cl.Status(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	return st
}

// leader waits for a leader and returns which node it is.
func (c *nodes) leader(cl *client.Client) (leader int) {
	c.t.Helper()
	eventually(c.t, "a node leads", func() bool {
		n := leaderOf(c.status(cl))
		if n == nil {
			return false
		}
		for leader = range c.processes {
			if localID(leader) == n.ID {
				return true
			}
		}
		return false
	})
	return leader
}

// whole waits until every node has applied what was committed when it asked.
func (c *nodes) whole(cl *client.Client) {
	c.t.Helper()
	eventually(c.t, "all nodes have applied what is committed", func() bool {
		st := c.status(cl)
		leader := leaderOf(st)
		if leader == nil {
			return false
		}
		for _, n := range st.Nodes {
			if n.Err != "" || n.AppliedIndex < leader.CommitIndex {
				return false
			}
		}
		return true
	})
}

// killAll kills all nodes, and only then waits for any.
func (c *nodes) killAll() {
	c.t.Helper()
	for _, p := range c.processes {
		p.signal(syscall.SIGKILL)
	}
	for _, p := range c.processes {
		<-p.done
	}
}

// within is a context for one call that must succeed.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
