//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/semanode/sema/bench/internal/proc"
)

// clusterSize is that of the peers that replicate.
const clusterSize = 3

// Cluster is a peer whose leader can be taken away.
type Cluster interface {
	Running
	// Leader is the number of the node that leads.
	Leader(ctx context.Context) (int, error)
	// Whole returns when all nodes know a leader and have what it has.
	Whole(ctx context.Context) error
	// Node is one of the processes.
	Node(i int) *Node
	// Probe returns a client.
	Probe(ctx context.Context) (Probe, error)
}

// Probe is a client that finds out when a cluster works again.
type Probe interface {
	// Acquire acquires a semaphore that is free, and tries until it has.
	Acquire(ctx context.Context, name string) error
	Close() error
}

// Node is one process of a cluster, which can be started again on its data.
type Node struct {
	spec proc.Spec
	*proc.Process
}

// Start starts the node, for the first time or again.
func (n *Node) Start() (err error) {
	n.Process, err = proc.Start(n.spec)
	return err
}

// nodes are the processes of a cluster.
type nodes []*Node

// startNodes starts processes at the same time and waits until all are ready.
func startNodes(ctx context.Context, specs []proc.Spec) (_ nodes, err error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	var all nodes
	defer func() {
		if err != nil {
			err = errors.Join(err, all.stop())
		}
	}()
	for _, spec := range specs {
		n := &Node{spec: spec}
		if err := n.Start(); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	for i, n := range all {
		if err := n.WaitReady(ctx); err != nil {
			return nil, fmt.Errorf("node %d: %w", i+1, err)
		}
	}
	return all, nil
}

// stop kills all: their data is thrown away with them.
func (all nodes) stop() error {
	var errs []error
	for _, n := range all {
		errs = append(errs, n.Kill())
	}
	return errors.Join(errs...)
}

// Node implements [Cluster].
func (all nodes) Node(i int) *Node { return all[i] }

// crashed tells of a node that ended by itself, which spoils a measurement.
func (all nodes) crashed() error {
	for _, n := range all {
		if err := n.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends a node without a word.
func (n *Node) Kill() error { return n.Process.Kill() }

// Terminate asks a node to end.
func (n *Node) Terminate() error { return n.Signal(syscall.SIGTERM) }

// pairs joins ids and addresses as the flags of clusters want them.
func pairs(ids, addrs []string, before string) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = id + "=" + before + addrs[i]
	}
	return strings.Join(all, ",")
}
