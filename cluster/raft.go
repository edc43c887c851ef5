package cluster

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// retainedSnapshots is how many snapshots stay on disk.
const retainedSnapshots = 2

// maxAppendEntries bounds the log entries of one request to a follower.
const maxAppendEntries = 64

// leaseTimeout is how long a leader goes on without hearing from a quorum. It must
// be below the election timeout, and not by much: a leader that steps down because
// its machine was busy for a moment costs an election.
func (n *Node) leaseTimeout() time.Duration { return n.cfg.ElectionTimeout * 4 / 5 }

// stateName is a state as the protocol has it, such as "leader".
func stateName(s raft.RaftState) string { return strings.ToLower(s.String()) }

func (n *Node) raftConfig() *raft.Config {
	c := raft.DefaultConfig()
	c.LocalID = n.member()
	c.HeartbeatTimeout = n.cfg.ElectionTimeout
	c.ElectionTimeout = n.cfg.ElectionTimeout
	c.LeaderLeaseTimeout = n.leaseTimeout()
	c.MaxAppendEntries = maxAppendEntries
	c.CommitTimeout = n.cfg.ElectionTimeout / 10 // when idle; how far the memory of a follower is behind
	c.SnapshotInterval = n.cfg.SnapshotInterval
	c.SnapshotThreshold = n.cfg.SnapshotThreshold
	c.TrailingLogs = n.cfg.TrailingLogs
	c.NoLegacyTelemetry = true
	c.Logger = n.log.Named("raft")
	return c
}

// startRaft bootstraps an empty store with the founding members, all nodes with
// the same list, and starts raft, which restores the newest snapshot.
func (n *Node) startRaft(st *store, founding foundingRecord) error {
	cache, err := raft.NewLogCache(logCacheSize, st)
	if err != nil {
		return err
	}
	n.ownLog = newParallelLog(cache)
	n.trans.log = n.ownLog
	conf := n.raftConfig()
	if !founding.Bootstrapped {
		if err := st.forgetHalfBootstrap(); err != nil {
			return err
		}
	}
	exists, err := raft.HasExistingState(st, st, st.disk)
	switch {
	case err != nil:
		return err
	case founding.Joined:
		if err := n.checkAdmitted(st, founding); err != nil {
			return err
		}
	case !exists && founding.Bootstrapped:
		return fmt.Errorf("the log of %s is empty although it was written, and with it what this node voted is lost; %s",
			cmp.Or(n.cfg.DataDir, "the disk"), cure)
	case !exists:
		if err := bootstrap(conf, st, n.trans, founding); err != nil {
			return err
		}
	}
	if !founding.Bootstrapped && !founding.Joined {
		founding.Bootstrapped = true
		if err := n.writeFounding(founding); err != nil {
			return err
		}
		n.record.set(founding)
	}
	if n.cfg.Host.Opened != nil {
		n.cfg.Host.Opened(n.machine)
	}
	var trans raft.Transport = n.trans
	if n.cfg.Host.WrapTransport != nil {
		trans = n.cfg.Host.WrapTransport(trans)
	}
	return catchFault(func() (err error) {
		if n.raft, err = raft.NewRaft(conf, guardedMachine{n.machine, n}, n.ownLog, st, countedSnapshots{st.disk, n.meters}, trans); err == nil {
			n.trans.intake.runs(n.raft, n.ownLog)
			n.ownLog.runs(n.raft)
		}
		return err
	})
}

// checkAdmitted makes sure that a node which was admitted still has its votes.
func (n *Node) checkAdmitted(st *store, founding foundingRecord) error {
	admitted, err := st.GetUint64(admittedKey)
	if err != nil && err.Error() != keyNotFound {
		return err
	}
	if founding.Bootstrapped && admitted != founding.Admitted {
		return fmt.Errorf("what this node voted is lost from %s; %s", cmp.Or(n.cfg.DataDir, "the disk"), cure)
	}
	return nil
}

func bootstrap(conf *raft.Config, st *store, trans raft.Transport, founding foundingRecord) error {
	members, err := foundingMembers(founding)
	if err != nil {
		return err
	}
	return raft.BootstrapCluster(conf, st, st, st.disk, trans, members)
}

// foundingMembers are in ascending order of id: the same bytes on every node.
func foundingMembers(founding foundingRecord) (members raft.Configuration, err error) {
	peers, err := ParsePeers(founding.Peers)
	if err != nil {
		return members, err
	}
	for _, p := range peers {
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Addr)})
	}
	return members, nil
}

// guardedMachine is the state machine as raft sees it. A snapshot that cannot
// be restored ends the node: raft has stored it already and would serve on with
// the state from before.
//
// It also keeps the committed membership, which raft tells the state machine only:
// what GetConfiguration has may be taken back, and has no index.
type guardedMachine struct {
	*fsm.Machine
	node *Node
}

var _ raft.ConfigurationStore = guardedMachine{}

// StoreConfiguration implements [raft.ConfigurationStore].
func (m guardedMachine) StoreConfiguration(index uint64, c raft.Configuration) {
	m.node.members.set(index, c)
}

func (m guardedMachine) restore(snapshot io.ReadCloser) error {
	err := m.Machine.Restore(snapshot)
	if err != nil {
		m.node.fail(fmt.Errorf("a snapshot cannot be restored: %w", err))
		return err
	}
	metas, err := m.node.disk.List() // newest first; this one is the newest
	if err == nil && len(metas) > 0 {
		m.node.members.set(metas[0].ConfigurationIndex, metas[0].Configuration)
	}
	return err
}

// raftStream is raft's share of the node's port. It implements
// [raft.StreamLayer].
type raftStream struct {
	net.Listener
	mux       *transport.Mux
	advertise advertised
}

// Dial implements [raft.StreamLayer].
func (s raftStream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	member, hostPort := split(addr)
	return s.mux.Dial(ctx, transport.RaftStream, hostPort, member)
}

// Addr is the address that the other nodes know: raft tells them where the
// leader is by it.
func (s raftStream) Addr() net.Addr { return s.advertise }

// advertised is an address as configured, not as resolved.
type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }
