package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema/cluster"
)

const (
	localClusterName = "dev"
	localHost        = "127.0.0.1"
	firstGRPCPort    = 7362 // of node n1; n2 has the next one
	maxLocalNodes    = 9
)

// localCluster is a whole cluster in this process, on loopback.
type localCluster struct {
	nodes []*cluster.Node // n1, n2, …
	ended chan error      // gets why each node ended, nil for Close and Kill
	watch sync.WaitGroup  // the goroutines that wait for that
}

// openLocal opens a node for each peer, with its state in dir/ID, and waits for
// a leader. On an error, also the end of ctx, nothing is left running.
func openLocal(ctx context.Context, dir string, peers []cluster.Peer, logger hclog.Logger) (_ *localCluster, err error) {
	l := &localCluster{ended: make(chan error, len(peers))}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	for i, peer := range peers {
		node, err := openLocalNode(ctx, cluster.Config{
			ID:          peer.ID,
			DataDir:     filepath.Join(dir, peer.ID),
			RaftAddr:    peer.Addr,
			GRPCAddr:    net.JoinHostPort(localHost, strconv.Itoa(firstGRPCPort+i)),
			Peers:       peers,
			ClusterName: localClusterName,
			Logger:      logger.Named(peer.ID),

			LogSegmentSize: 1 << 20, // to play with, that is enough
		})
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", peer.ID, err)
		}
		l.nodes = append(l.nodes, node)
		l.watch.Go(func() {
			<-node.Done()
			l.ended <- node.Err()
		})
	}
	return l, l.nodes[0].WaitLeader(ctx)
}

// openLocalNode opens a node on any port for clients if the one it should have
// is taken.
func openLocalNode(ctx context.Context, cfg cluster.Config) (*cluster.Node, error) {
	node, err := cluster.Open(ctx, cfg)
	if errors.Is(err, syscall.EADDRINUSE) {
		cfg.GRPCAddr = net.JoinHostPort(localHost, "0")
		node, err = cluster.Open(ctx, cfg)
	}
	return node, err
}

// localPeers returns the members of the cluster in dir, or those to found one
// there. nodes is how many there are to be; 0 takes what there is, or 3.
func localPeers(dir string, nodes int) ([]cluster.Peer, error) {
	if _, err := cluster.ReadFounding(dir); err == nil {
		return nil, usagef("%s belongs to a single node: choose another directory, or run that node with serve", dir)
	}
	for i := range maxLocalNodes {
		founding, err := cluster.ReadFounding(filepath.Join(dir, localID(i)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case nodes != 0 && nodes != len(founding.Peers):
			return nil, usagef("%s holds a cluster of %d nodes, not %d: leave out --nodes, or choose another directory", dir, len(founding.Peers), nodes)
		}
		return founding.Peers, nil
	}
	if nodes == 0 {
		nodes = 3
	}
	peers := make([]cluster.Peer, nodes)
	for i := range peers {
		peers[i] = cluster.Peer{ID: localID(i), Addr: freeAddr()}
	}
	return peers, nil
}

func localID(i int) string { return "n" + strconv.Itoa(i+1) }

// Endpoints are the addresses for clients, in order of node.
func (l *localCluster) Endpoints() []string {
	endpoints := make([]string, len(l.nodes))
	for i, node := range l.nodes {
		endpoints[i] = node.GRPCAddr()
	}
	return endpoints
}

// Leader returns the node that leads, nil if none does.
func (l *localCluster) Leader() *cluster.Node {
	for _, node := range l.nodes {
		if node.IsLeader() {
			return node
		}
	}
	return nil
}

// Close closes all nodes, at once, and waits.
func (l *localCluster) Close() error {
	errs := make([]error, len(l.nodes))
	var closing sync.WaitGroup
	for i, node := range l.nodes {
		closing.Go(func() { errs[i] = node.Close() })
	}
	closing.Wait()
	l.watch.Wait()
	return errors.Join(errs...)
}

// drawn are the addresses that freeAddr gave out in this process: nobody listens
// there yet, perhaps, but somebody will.
var drawn sync.Map

// freeAddr returns a random address on loopback that nobody listens on, another one
// each time. Its port is below those that systems give to outgoing connections, so
// that it is most likely still free at the next start.
func freeAddr() string {
	const lowest, ephemeral = 10000, 32768
	for {
		addr := net.JoinHostPort(localHost, strconv.Itoa(lowest+rand.IntN(ephemeral-lowest)))
		if _, again := drawn.LoadOrStore(addr, true); again {
			continue
		}
		if lis, err := net.Listen("tcp", addr); err == nil {
			lis.Close()
			return addr
		}
	}
}
