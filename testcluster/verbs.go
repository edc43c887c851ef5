package testcluster

import (
	"context"
	"slices"
	"sync"

	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/testcluster/internal/memnet"
)

// Partition cuts the network into groups of machines, nodes and clients, that hear
// each other and nobody else. Who is in no group hears everyone and is heard. The
// connections stay: what was sent arrives when the network heals, if they last.
// Cuts add up until Heal.
func (c *Cluster) Partition(groups ...[]string) {
	c.tb.Helper()
	c.exist(slices.Concat(groups...)...)
	c.cut(partitioned(groups...))
}

// Isolate cuts one machine off from all others, clients too.
func (c *Cluster) Isolate(name string) {
	c.tb.Helper()
	c.exist(name)
	c.cut(func(from, to string) bool { return from == name || to == name })
}

// Silence lets nothing of what one machine sends reach another; the other
// direction stays whole.
func (c *Cluster) Silence(from, to string) {
	c.tb.Helper()
	c.exist(from, to)
	c.cut(func(f, t string) bool { return f == from && t == to })
}

// Heal undoes Partition, Isolate and Silence.
func (c *Cluster) Heal() {
	c.mu.Lock()
	lifts := c.lifts
	c.lifts = map[int]func(){}
	c.mu.Unlock()
	for _, lift := range lifts {
		lift()
	}
}

// exist fails the test unless there are machines of all these names: a cut of another
// would cut nothing.
func (c *Cluster) exist(names ...string) {
	c.tb.Helper()
	for _, name := range names {
		c.gate(name)
	}
}

func (c *Cluster) cut(match func(from, to string) bool) {
	lift := c.net.Impose(&memnet.Rule{Match: match, Block: true})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cuts++
	c.lifts[c.cuts] = lift
}

// partitioned matches what one group says to another.
func partitioned(groups ...[]string) func(from, to string) bool {
	group := func(name string) int {
		return slices.IndexFunc(groups, func(g []string) bool { return slices.Contains(g, name) })
	}
	return func(from, to string) bool {
		f, t := group(from), group(to)
		return f >= 0 && t >= 0 && f != t
	}
}

// Kill ends a node as SIGKILL does: it has no time for anything, and the machine
// tells the others that its connections are gone. What it had written stays,
// synced or not.
func (c *Cluster) Kill(id string) {
	c.tb.Helper()
	c.machine(id).kill(false)
}

// CutPower ends a node and its machine: the others hear nothing any more, and
// what was not synced is gone, if the disks are in memory.
func (c *Cluster) CutPower(id string) {
	c.tb.Helper()
	c.machine(id).kill(true)
}

// LoseDisk ends a node and its machine as CutPower does, and what is on the disk is
// gone. Start brings it back as a new member. It fails the test if half of the disks or
// more would be lost: what was promised would be lost with them.
func (c *Cluster) LoseDisk(id string) {
	c.tb.Helper()
	m := c.machine(id)
	c.Eventually("every node takes part in the cluster", c.founded)
	out := 0
	for _, other := range c.machines {
		if other != m && other.isOut() {
			out++
		}
	}
	if 2*(out+1) >= len(c.machines) {
		c.tb.Fatalf("%s cannot lose its disk: %d of %d nodes would be left, and that is no majority", id, len(c.machines)-out-1, len(c.machines))
	}
	if err := c.loseDisk(m); err != nil {
		c.tb.Fatalf("losing the disk of %s: %v", id, err)
	}
}

// Stop closes a node as its operator would: a leader hands over first.
func (c *Cluster) Stop(id string) {
	c.tb.Helper()
	if err := c.machine(id).stop(); err != nil {
		c.tb.Errorf("stopping %s: %v", id, err)
	}
}

// Start starts a node that was killed or stopped, or has ended by itself, on the
// disk that it left. If LoseDisk took that, it does what an operator would do: it
// removes the node from the cluster, which takes a majority, starts it empty as one that
// joins, and returns when that has its vote.
func (c *Cluster) Start(id string) *cluster.Node {
	c.tb.Helper()
	m := c.machine(id)
	if m.running() == nil {
		m.gate.Open() // a new process is not paused
	}
	if m.isOut() {
		c.replace(m)
		c.Eventually(id+" is back as a new member", m.outWhy)
		return m.running()
	}
	if err := m.restart(context.Background()); err != nil {
		c.tb.Fatalf("starting: %v", err)
	}
	return m.running()
}

// Restart kills a node, as Kill does, and starts it again.
func (c *Cluster) Restart(id string) *cluster.Node {
	c.tb.Helper()
	c.Kill(id)
	return c.Start(id)
}

// Pause stops a node's process, or a client's, as SIGSTOP does: its connections
// stay and nobody answers. Its goroutines stop when they next touch network, disk,
// clock or log; what they compute meanwhile nobody sees.
func (c *Cluster) Pause(name string) {
	c.tb.Helper()
	c.gate(name).Shut()
}

// Resume lets a paused process go on.
func (c *Cluster) Resume(name string) {
	c.tb.Helper()
	c.gate(name).Open()
}

// every runs a verb for all machines at once.
func (c *Cluster) every(do func(*machine)) {
	var wg sync.WaitGroup
	for _, m := range c.machines {
		wg.Go(func() { do(m) })
	}
	wg.Wait()
}
