package cluster

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/sabotage"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// How a node becomes, and stays, a member. Until it has entered, raft's streams do not
// pass its port, in either direction: so it neither votes nor acknowledges anything.
//
// A founding member enters when every other one has said, once, that it has not taken
// part in the cluster yet, or that it has and knows this very disk from then. Who says
// so has written down this node's incarnation before it takes part. A node that lost
// its disk has a new incarnation; if any node has ever taken a vote or an
// acknowledgement of the old disk, that node knows the old incarnation, and so the new
// disk never enters. The price: for the founding all members have to run.
//
// A node that joins enters when the leader has made it a member, by a name that
// contains its incarnation. See [Config.Join].

// askPeriod is how often a node asks again, at first and at most.
const (
	firstAskPeriod = 50 * time.Millisecond
	askPeriod      = time.Second
	// doorTimeout bounds one question to another node.
	doorTimeout = time.Second
)

// ErrRemoved is why a node ends that was removed from its cluster.
var ErrRemoved = fmt.Errorf("%w: this node was removed from the cluster; to take it in again, start it with an empty data directory and --join", sema.ErrMembership)

// ErrFoundedAgain is why a node ends that has founded a cluster of its own, and is a member
// of another one.
var ErrFoundedAgain = fmt.Errorf("%w: nodes of another cluster have this one for a member of theirs, and it has founded one of its own, alone. If its disk was lost, remove it there (semanode remove), empty the data directory, and start it with --join and without --peers. If not, keep its directory: they dial an address that was another node's, so give this one another address (--raft-addr)", sema.ErrMembership)

// claimed is told that another cluster has this node for a member. If it is alone in its
// own, that is the cluster it founded once: it must not grant what that one holds. One
// that was restored took this one's place on purpose: whoever claims it is left over from
// the cluster before, and is turned away like any stranger.
func (n *Node) claimed() {
	if n.record.get().Restored != "" {
		n.claimedOnce.Do(func() {
			n.log.Warn("a node of another cluster, such as the one that this was restored from, has this node for a member, and is turned away: stop that node, and remove its directory")
		})
		return
	}
	if _, members := n.members.get(); len(members) == 1 {
		n.fail(ErrFoundedAgain)
	}
}

// enter lets the node take part in its cluster as soon as it may, and watches from then
// on whether it still may. It runs until ctx ends.
func (n *Node) enter(ctx context.Context) {
	if !n.record.get().entered() {
		attempt := n.found
		if n.record.get().Joined {
			attempt = n.join
		}
		if !n.insist(ctx, attempt) {
			return
		}
	}
	n.mux.Admit(string(n.member()))
	n.watchMembership(ctx)
}

// insist tries until it is done. It reports false if ctx ended, or the node does.
func (n *Node) insist(ctx context.Context, attempt func(context.Context) error) bool {
	period, said := firstAskPeriod, ""
	for {
		err := attempt(ctx)
		var fault *entryFault
		switch {
		case err == nil:
			return true
		case ctx.Err() != nil:
			return false
		case errors.As(err, &fault):
			n.fail(err)
			return false
		case err.Error() != said && period > firstAskPeriod*4: // the others may just be starting
			said = err.Error()
			n.log.Warn("not part of the cluster yet", "because", said)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(period):
			period = min(2*period, askPeriod)
		}
	}
}

// entryFault is one that time does not mend.
type entryFault struct{ error }

func (f *entryFault) Unwrap() error { return f.error }

// member is this node's name in raft's configuration.
func (n *Node) member() raft.ServerID { return n.record.get().member() }

// introduction says who asks.
func (n *Node) introduction() transport.Introduction {
	r := n.record.get()
	i, _ := r.incarnation() // checked when it was read
	in := transport.Introduction{ID: r.NodeID, Incarnation: i}
	if r.entered() {
		in.Member = string(r.member())
	}
	return in
}

// ask asks the node at a raft address who it is.
func (n *Node) ask(ctx context.Context, addr string) (transport.Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, doorTimeout)
	defer cancel()
	i, err := transport.AskDoor(ctx, addr, func(ctx context.Context, addr string) (net.Conn, error) {
		return n.mux.Dial(ctx, transport.GuestStream, addr, "")
	}, n.introduction())
	if err != nil {
		return i, fmt.Errorf("the node at %s does not answer: %w", addr, err)
	}
	return i, nil
}

// Identify implements [transport.Door].
func (n *Node) Identify(in transport.Introduction) transport.Identity {
	r := n.record.get()
	own, _ := r.incarnation() // checked when it was read
	founders, _ := r.founders()
	i := transport.Identity{ID: r.NodeID, Incarnation: own, ClusterName: r.ClusterName, Founders: r.Peers, Restored: r.Restored, Founded: r.entered(), Known: founders[in.ID]}
	i.ClusterID, _ = r.cluster()
	i.Disks, i.Level = r.Founders, n.level()
	if r.entered() {
		i.Member = string(r.member())
	}
	if leader := n.Leader(); leader.ID != "" {
		i.LeaderRaftAddr = leader.RaftAddr
	}
	index, members := n.members.get()
	i.MembershipIndex = index
	for _, s := range members {
		i.IsMember = i.IsMember || string(s.ID) == in.Member
	}
	return i
}

// found asks all other founding members whether this node may take part.
func (n *Node) found(ctx context.Context) error {
	r := n.record.get()
	own, _ := r.incarnation()
	peers, err := ParsePeers(r.Peers)
	if err != nil {
		return err
	}
	founders := map[string]incarnation{r.NodeID: own}
	disks := "" // as those know them who have founded the cluster already
	for _, p := range peers {
		if p.ID == r.NodeID {
			continue
		}
		i, err := n.ask(ctx, p.Addr)
		switch {
		case sabotage.On(sabotage.LostVotes) && err != nil:
			continue
		case err != nil:
			return fmt.Errorf("%w; a cluster is founded by all of its members together", err)
		case i.Founders != r.Peers || i.ClusterName != r.ClusterName || i.Restored != r.Restored:
			return fmt.Errorf("the node at %s belongs to another cluster: check --peers and --cluster-name on both", p.Addr)
		case i.ID != p.ID:
			return fmt.Errorf("the node at %s is %q, not %q: check --peers and --id on both", p.Addr, i.ID, p.ID)
		case i.Founded && i.Known != own && !sabotage.On(sabotage.LostVotes):
			return fmt.Errorf("node %s has taken part in this cluster already, and knows node %s by another disk: if that disk is lost, remove the node (semanode remove %s) and start it with an empty data directory and --join",
				i.ID, r.NodeID, r.NodeID)
		}
		if disks != "" && i.Disks != "" && i.Disks != disks {
			return errors.New("two nodes that have founded the cluster know other disks of the others: empty the directories of all, and begin again")
		}
		disks = cmp.Or(disks, i.Disks)
		founders[p.ID] = i.Incarnation
	}
	r = r.withFounders(founders)
	if sabotage.On(sabotage.LostVotes) {
		r.Founders = cmp.Or(disks, r.Founders)
	}
	if disks != "" && r.Founders != disks {
		return errors.New("a node has lost its disk while the cluster was founded: empty the directories of all, and begin again")
	}
	return n.entered(r)
}

// entered makes what the node has become survive a power cut.
func (n *Node) entered(r foundingRecord) error {
	r.Bootstrapped = true
	if err := n.writeFounding(r); err != nil {
		return &entryFault{fmt.Errorf("founding record: %w", err)}
	}
	n.belong(r)
	return nil
}

// admittedKey is beside the votes: where it is missing, the votes are too.
var admittedKey = []byte("SemaAdmitted")

// join asks the leader to make this node a member.
func (n *Node) join(ctx context.Context) error {
	r := n.record.get()
	index, err := n.askToJoin(ctx, n.cfg.Join, false)
	if errors.Is(err, sema.ErrMembership) || errors.Is(err, sema.ErrInvalid) {
		return &entryFault{err}
	}
	if err != nil {
		return err
	}
	if err := n.store.SetUint64(admittedKey, index); err != nil {
		return &entryFault{fmt.Errorf("disk: %w", err)}
	}
	r.Admitted = index
	if err := n.entered(r); err != nil {
		return err
	}
	n.log.Info("joined", "cluster", n.clusterID(), "as", r.member(), "index", index)
	return nil
}

// askToJoin has the leader, of which those at addrs know, take note of this node and its address.
func (n *Node) askToJoin(ctx context.Context, addrs []string, moves bool) (index uint64, err error) {
	leader, err := n.findLeader(ctx, addrs)
	if err != nil {
		return 0, err
	}
	peer, err := n.peers.Client(leader)
	if err != nil {
		return 0, err
	}
	r := n.record.get()
	req := &semav1.JoinRequest{Id: r.NodeID, RaftAddr: string(n.trans.LocalAddr()), Moves: moves, Level: uint32(n.level())}
	if own, _ := r.incarnation(); r.Joined {
		req.Incarnation = own[:]
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	resp, err := peer.Join(ctx, req)
	return resp.GetIndex(), transport.ErrorFromStatus(err)
}

// findLeader returns the raft address of the leader, of which any of those at addrs may know.
func (n *Node) findLeader(ctx context.Context, addrs []string) (string, error) {
	var faults []error
	for _, addr := range addrs {
		i, err := n.ask(ctx, addr)
		switch {
		case err != nil:
			faults = append(faults, err)
		case hex.EncodeToString(i.ClusterID[:]) != n.clusterID():
			faults = append(faults, fmt.Errorf("the node at %s belongs to another cluster", addr))
		case i.LeaderRaftAddr == "":
			faults = append(faults, fmt.Errorf("the node at %s knows no leader", addr))
		default:
			return i.LeaderRaftAddr, nil
		}
	}
	if len(faults) == 0 {
		return "", errors.New("nobody to ask who leads")
	}
	return "", errors.Join(faults...)
}

// findCluster learns which cluster a new node is to join, and claims its disk for that.
func (n *Node) findCluster(ctx context.Context, r foundingRecord) (foundingRecord, error) {
	n.record.set(r)
	ask := func(ctx context.Context) error {
		var faults []error
		for _, addr := range n.cfg.Join {
			i, err := n.ask(ctx, addr)
			if err == nil {
				r, err = r.of(i, addr)
			}
			if err == nil {
				return nil
			}
			faults = append(faults, err)
		}
		return errors.Join(faults...)
	}
	if !n.insist(ctx, ask) {
		return r, context.Cause(ctx)
	}
	return r, n.claim(r)
}

// of is the record of a node that joins the cluster of another one.
func (r foundingRecord) of(i transport.Identity, addr string) (foundingRecord, error) {
	if !i.Founded || i.ClusterID == [16]byte{} {
		return r, fmt.Errorf("the node at %s is no member of a cluster yet", addr)
	}
	if r.ClusterName != "" && r.ClusterName != i.ClusterName {
		return r, fmt.Errorf("the node at %s belongs to the cluster named %q, not to %q", addr, i.ClusterName, r.ClusterName)
	}
	joined := r
	joined.ClusterName, joined.Peers, joined.Restored, joined.Founders = i.ClusterName, i.Founders, i.Restored, i.Disks
	peers, err := ParsePeers(i.Founders)
	if err == nil {
		base := joined.identity(Config{ClusterName: i.ClusterName, Peers: peers})
		joined.ClusterID = hex.EncodeToString(base[:])
		err = joined.check()
	}
	if err != nil {
		return r, fmt.Errorf("the node at %s says what cannot be: %w", addr, err)
	}
	if id, _ := joined.cluster(); id != i.ClusterID {
		return r, fmt.Errorf("the node at %s says what cannot be: its cluster has another id", addr)
	}
	return joined, nil
}
