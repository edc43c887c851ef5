package cluster

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/semanode/sema"
)

// What a node looks after once it has entered.

// watchMembership tells the cluster if this node's address has changed, and ends the
// node if it was removed. Both show by silence: no leader speaks to this node.
func (n *Node) watchMembership(ctx context.Context) {
	for {
		leader, changed := n.watcher.get()
		var again <-chan time.Time
		if leader.ID == "" || n.moved() {
			again = time.After(max(askPeriod, 2*n.cfg.ElectionTimeout))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			continue
		case <-again:
		}
		if err := n.reconsider(ctx); err != nil && ctx.Err() == nil {
			n.log.Debug("the cluster could not be asked about this node", "error", err)
		}
	}
}

// others are the raft addresses of the other members, as this node knows them, and of
// those it was told to join.
func (n *Node) others() (addrs []string) {
	membership := n.raft.GetConfiguration()
	if membership.Error() != nil {
		return nil
	}
	for _, s := range membership.Configuration().Servers {
		if s.ID != n.member() {
			addrs = append(addrs, string(s.Address))
		}
	}
	return append(addrs, n.cfg.Join...)
}

// moved reports whether the cluster has another address of this node than it has.
func (n *Node) moved() bool {
	membership := n.raft.GetConfiguration()
	if membership.Error() != nil {
		return false
	}
	for _, s := range membership.Configuration().Servers {
		if s.ID == n.member() {
			return s.Address != n.trans.LocalAddr()
		}
	}
	return false
}

// reconsider asks the others whether this node is still a member, and where they think
// that it is.
func (n *Node) reconsider(ctx context.Context) error {
	addrs := n.others()
	index, _ := n.members.get()
	since := max(index, n.record.get().Admitted, 1)
	var faults []error
	for _, addr := range addrs {
		i, err := n.ask(ctx, addr)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		if i.MembershipIndex >= since && !i.IsMember && hex.EncodeToString(i.ClusterID[:]) == n.clusterID() {
			n.fail(ErrRemoved)
			return nil
		}
	}
	if n.moved() {
		_, err := n.askToJoin(ctx, addrs, true)
		if errors.Is(err, sema.ErrNotFound) {
			n.fail(ErrRemoved)
			return nil
		}
		if err != nil {
			n.log.Warn("the cluster could not be told this node's new address", "raftAddr", string(n.trans.LocalAddr()), "error", err)
			return nil
		}
		n.log.Info("the cluster knows this node's new address", "raftAddr", string(n.trans.LocalAddr()))
	}
	return errors.Join(faults...)
}
