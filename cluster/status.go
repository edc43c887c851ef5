package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// peerStatusTimeout bounds how long a status waits for a node that is gone.
const peerStatusTimeout = time.Second

// Leader says who leads, as far as this node knows. It is zero if it knows
// none, also while this node was elected and has not taken office yet.
func (n *Node) Leader() sema.Leader {
	addr, id := n.raft.LeaderWithID()
	switch {
	case id == "" || id == n.member() && !n.IsLeader():
		return sema.Leader{}
	case id == n.member():
		return sema.Leader{ID: n.cfg.ID, RaftAddr: string(addr), GRPCAddr: n.GRPCAddr()}
	}
	return sema.Leader{ID: nodeID(id), RaftAddr: string(addr), GRPCAddr: n.addrs.get(nodeID(id))}
}

// IsLeader reports whether this node is in office.
func (n *Node) IsLeader() bool { return n.office.Load() != nil }

// Status implements [transport.Backend]: this node and, asked at the same time,
// the others. It takes as long as the slowest of them, a second at most.
func (b backend) Status(ctx context.Context, req transport.StatusRequest) (transport.ClusterStatus, error) {
	st := transport.ClusterStatus{ClusterID: b.clusterID(), Nodes: []transport.NodeStatus{b.nodeStatus()}}
	if req.NodeOnly {
		return st, nil
	}
	future := b.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return st, fmt.Errorf("membership: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, peerStatusTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	servers := future.Configuration().Servers
	for _, server := range servers {
		if server.ID == b.member() {
			st.Nodes[0].Voter = server.Suffrage == raft.Voter
		}
	}
	for _, server := range servers {
		if server.ID == b.member() {
			continue
		}
		wg.Go(func() {
			peer := b.peerStatus(ctx, server)
			peer.Voter = server.Suffrage == raft.Voter
			mu.Lock()
			defer mu.Unlock()
			st.Nodes = append(st.Nodes, peer)
		})
	}
	wg.Wait()
	slices.SortFunc(st.Nodes, func(a, b transport.NodeStatus) int { return strings.Compare(a.ID, b.ID) })
	return st, nil
}

func (b backend) nodeStatus() transport.NodeStatus {
	return transport.NodeStatus{
		ID:           b.cfg.ID,
		RaftAddr:     string(b.trans.LocalAddr()),
		GRPCAddr:     b.GRPCAddr(),
		Leader:       b.IsLeader(),
		State:        stateName(b.raft.State()),
		Term:         b.raft.CurrentTerm(),
		CommitIndex:  b.raft.CommitIndex(),
		AppliedIndex: b.raft.AppliedIndex(),
	}
}

// peerStatus asks another node how it is. One that does not answer is part of
// the answer.
func (n *Node) peerStatus(ctx context.Context, server raft.Server) transport.NodeStatus {
	id := nodeID(server.ID)
	st, err := n.askPeer(ctx, string(server.Address))
	if err == nil && st.ID != id {
		err = fmt.Errorf("node %s has its address now", st.ID)
	}
	if err != nil {
		return transport.NodeStatus{ID: id, RaftAddr: string(server.Address),
			GRPCAddr: n.addrs.get(id), State: "unreachable", Err: err.Error()}
	}
	n.addrs.set(st.ID, st.GRPCAddr)
	return st
}

func (n *Node) askPeer(ctx context.Context, raftAddr string) (transport.NodeStatus, error) {
	peer, err := n.peers.Client(raftAddr)
	if err != nil {
		return transport.NodeStatus{}, err
	}
	m, err := peer.Status(ctx, &semav1.StatusRequest{NodeOnly: true})
	if err != nil {
		return transport.NodeStatus{}, errors.New(status.Convert(err).Message()) // shown to people, in one column
	}
	nodes := transport.StatusFromWire(m).Nodes
	if len(nodes) != 1 {
		return transport.NodeStatus{}, fmt.Errorf("the node at %s answered for %d nodes", raftAddr, len(nodes))
	}
	return nodes[0], nil
}

// addressBook remembers where clients reach the other nodes: the log knows
// raft addresses only. Bounded by the membership.
type addressBook struct {
	mu   sync.Mutex
	grpc map[string]string // by node id
}

func (a *addressBook) get(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grpc[id]
}

func (a *addressBook) set(id, grpcAddr string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.grpc == nil {
		a.grpc = map[string]string{}
	}
	a.grpc[id] = grpcAddr
}
