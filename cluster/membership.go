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

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

var _ transport.Membership = backend{}

const (
	// changeTimeout bounds a change of the membership.
	changeTimeout = 10 * time.Second
	// promotePeriod is how often the leader looks whether members without a vote have
	// caught up; they get a vote when they had twice running.
	promotePeriod = 500 * time.Millisecond
	// caughtUp is how many entries a member may be behind to get a vote.
	caughtUp = 1024
)

// refused is a change of the membership that cannot be.
func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{sema.ErrMembership}, args...)...)
}

// change makes one change of the membership after the other: each is decided by what the
// one before has left.
func (b backend) change(ctx context.Context, do func(m raft.Configuration) error) error {
	if _, err := b.leading(); err != nil {
		return err
	}
	select {
	case b.changing <- struct{}{}:
		defer func() { <-b.changing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	m := b.raft.GetConfiguration()
	if err := m.Error(); err != nil {
		return err
	}
	err := do(m.Configuration())
	if errors.Is(err, sema.ErrNotFound) { // perhaps for a removal that is not committed
		if unsettled := b.settled(ctx); unsettled != nil {
			return unsettled
		}
	}
	return err
}

// settled returns when what raft has as the membership is committed. Until then it may
// be taken back.
func (b backend) settled(ctx context.Context) error {
	barrier := b.raft.Barrier(changeTimeout)
	b.endWithRaft(barrier)
	_, err := b.changed(ctx, committed{barrier})
	return err
}

// since is the entry that has the membership which a change goes by: if there is a newer
// one by then, raft refuses.
func (b backend) since() uint64 {
	index, _ := b.members.get()
	return index
}

// changed is what a change that raft was asked for came to.
func (b backend) changed(ctx context.Context, f raft.IndexFuture) (index uint64, err error) {
	err = b.await(ctx, f)
	switch {
	case err == nil:
		return f.Index(), nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return 0, b.notLeader()
	case strings.Contains(err.Error(), "configuration changed since"): // raft has no error of its own for it
		return 0, sema.ErrOverloaded
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), ctx.Err() != nil:
		return 0, &sema.OutcomeUnknownError{Cause: err}
	}
	return 0, refused("%w", err)
}

// committed is a barrier, which has no index.
type committed struct{ raft.Future }

// Index implements [raft.IndexFuture].
func (committed) Index() uint64 { return 0 }

// Join implements [transport.Membership].
func (b backend) Join(ctx context.Context, req transport.JoinRequest) (index uint64, err error) {
	if err := errors.Join(req.Validate(), validateID("id", req.ID)); err != nil {
		return 0, err
	}
	err = b.change(ctx, func(m raft.Configuration) error {
		if level, known := b.machine.Level(), max(fsm.LevelBase, req.Level); known < level {
			return refused("the log has entries of level %d, and node %s knows them up to %d: start it with a newer version", level, req.ID, known)
		}
		name, suffrage, stays, err := admit(m, req)
		if err != nil {
			return err
		}
		if stays {
			if err := b.settled(ctx); err != nil {
				return err
			}
			index, _ = b.members.get()
			return nil
		}
		add := b.raft.AddNonvoter
		if suffrage == raft.Voter {
			add = b.raft.AddVoter
		}
		index, err = b.changed(ctx, add(name, raft.ServerAddress(req.RaftAddr), b.since(), changeTimeout))
		if err == nil {
			what := "member joined"
			if slices.ContainsFunc(m.Servers, func(s raft.Server) bool { return s.ID == name }) {
				what = "member moved"
			}
			b.cfg.AuditLogger.Info(what, "member", req.ID, "raft-addr", req.RaftAddr, "voter", suffrage == raft.Voter)
		}
		return err
	})
	return index, err
}

// admit decides on a node that asks to join: by what name it is a member, and whether
// with a vote. stays is true if nothing changes.
func admit(m raft.Configuration, req transport.JoinRequest) (name raft.ServerID, suffrage raft.ServerSuffrage, stays bool, err error) {
	name, suffrage = raft.ServerID(req.ID), raft.Nonvoter
	founder := req.Incarnation == [16]byte{}
	if !founder {
		name = incarnation(req.Incarnation).member(req.ID)
	}
	known := false
	for _, s := range m.Servers {
		switch {
		case s.ID == name:
			known, suffrage, stays = true, s.Suffrage, string(s.Address) == req.RaftAddr
		case nodeID(s.ID) == req.ID:
			return name, suffrage, false, refused("node %s is a member with another disk; if that is lost, remove the node first: semanode remove %s", req.ID, req.ID)
		case string(s.Address) == req.RaftAddr:
			return name, suffrage, false, refused("the cluster knows node %s at the address %s: if that one has moved, start it where it is now, so that it says so; if it is gone for good, semanode remove %s", nodeID(s.ID), req.RaftAddr, nodeID(s.ID))
		}
	}
	if req.Moves && !known {
		return name, suffrage, false, noMember(req.ID)
	}
	if founder && !known {
		return name, suffrage, false, refused("node %s is no founding member", req.ID)
	}
	return name, suffrage, stays, nil
}

// Member implements [transport.Membership].
func (b backend) Member(ctx context.Context, id string) (name string, err error) {
	err = b.change(ctx, func(m raft.Configuration) error {
		for _, s := range m.Servers {
			if nodeID(s.ID) == id {
				name = string(s.ID)
				return nil
			}
		}
		return noMember(id)
	})
	return name, err
}

func noMember(id string) error {
	return fmt.Errorf("node %s is no member of this cluster: %w", id, sema.ErrNotFound)
}

// Remove implements [transport.Membership].
func (b backend) Remove(ctx context.Context, req transport.RemoveRequest) error {
	if err := req.Validate(); err != nil {
		return err
	}
	return b.change(ctx, func(m raft.Configuration) error {
		member, err := b.removable(ctx, m, req)
		if err != nil {
			return err
		}
		if member.ID == b.member() {
			// Another leader does it: one that removes itself would count acknowledgements
			// without being part of the majority.
			if err := b.transfer(ctx, m, ""); err != nil {
				return err
			}
			return b.notLeader()
		}
		_, err = b.changed(ctx, b.raft.RemoveServer(member.ID, b.since(), changeTimeout))
		if err == nil && !req.Audited {
			b.cfg.AuditLogger.Info("member removed", "member", req.ID, "force", req.Force)
		}
		return err
	})
}

// removable returns the member to remove, unless those who are left could decide nothing.
func (b backend) removable(ctx context.Context, m raft.Configuration, req transport.RemoveRequest) (member raft.Server, err error) {
	var left []raft.Server // with a vote
	for _, s := range m.Servers {
		switch {
		case nodeID(s.ID) == req.ID:
			member = s
		case s.Suffrage == raft.Voter:
			left = append(left, s)
		}
	}
	switch {
	case member.ID == "":
		return member, noMember(req.ID)
	case req.Member != "" && string(member.ID) != req.Member:
		return member, fmt.Errorf("node %s has joined with a new disk meanwhile, and that member is not removed: %w", req.ID, sema.ErrNotFound)
	case len(left) == 0:
		return member, refused("node %s is the only member with a vote", req.ID)
	case member.Suffrage != raft.Voter || req.Force:
		return member, nil
	}
	if n := b.answering(ctx, left); n <= len(left)/2 {
		return member, refused("only %d of the %d members with a vote that would be left answer, which is no majority: start the others, or insist with --force", n, len(left))
	}
	return member, nil
}

// answering counts the members that answer, this one included.
func (b backend) answering(ctx context.Context, members []raft.Server) int {
	ctx, cancel := context.WithTimeout(ctx, peerStatusTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	n := 0
	for _, s := range members {
		wg.Go(func() {
			if s.ID != b.member() {
				if st, err := b.askPeer(ctx, string(s.Address)); err != nil || st.ID != nodeID(s.ID) {
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			n++
		})
	}
	wg.Wait()
	return n
}

// TransferLeadership implements [transport.Membership].
func (b backend) TransferLeadership(ctx context.Context, id string) (leader string, err error) {
	err = b.change(ctx, func(m raft.Configuration) error {
		if id == b.cfg.ID {
			return nil // it leads
		}
		return b.transfer(ctx, m, id)
	})
	if err != nil {
		return "", err
	}
	failed := sema.Leader{ID: b.cfg.ID}
	if id == b.cfg.ID {
		failed = sema.Leader{}
	}
	now, err := b.watcher.AwaitLeader(ctx, failed)
	return now.ID, err
}

// transfer makes the node with this id lead, any other one if it is "".
func (b backend) transfer(ctx context.Context, m raft.Configuration, id string) error {
	future := func() raft.Future { return b.raft.LeadershipTransfer() }
	others, to := 0, raft.Server{}
	for _, s := range m.Servers {
		if s.Suffrage == raft.Voter && s.ID != b.member() {
			others++
		}
		if nodeID(s.ID) == id {
			to = s
		}
	}
	switch {
	case id != "" && to.ID == "":
		return noMember(id)
	case id != "" && to.Suffrage != raft.Voter:
		return refused("node %s has no vote yet: it has not caught up", id)
	case others == 0:
		return refused("no other member could lead")
	case id != "":
		future = func() raft.Future { return b.raft.LeadershipTransferToServer(to.ID, to.Address) }
	}
	err := b.await(ctx, future())
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return b.notLeader()
	}
	return refused("leadership was not transferred: %w; try again", err)
}

// promote gives members a vote that have caught up, as long as this node leads.
func (o *office) promote() {
	b := backend{o.node}
	ready := map[raft.ServerID]bool{} // those that had caught up at the last look
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-time.After(promotePeriod):
		}
		now := map[raft.ServerID]bool{}
		m := b.raft.GetConfiguration()
		if m.Error() != nil {
			continue
		}
		for _, s := range m.Configuration().Servers {
			if s.Suffrage == raft.Nonvoter && b.hasCaughtUp(o.ctx, s) {
				now[s.ID] = true
				if ready[s.ID] {
					b.giveVote(o.ctx, s.ID)
				}
			}
		}
		ready = now
	}
}

// hasCaughtUp reports whether a member takes part, with the disk that it was taken in
// with, knows that it was, and is no more than a moment behind.
func (b backend) hasCaughtUp(ctx context.Context, s raft.Server) bool {
	ctx, cancel := context.WithTimeout(ctx, peerStatusTimeout)
	defer cancel()
	if i, err := b.ask(ctx, string(s.Address)); err != nil || i.Member != string(s.ID) {
		return false
	}
	since, _ := b.members.get()
	commit := b.raft.CommitIndex() // before it is asked: it cannot be there yet otherwise
	st, err := b.askPeer(ctx, string(s.Address))
	return err == nil && st.ID == nodeID(s.ID) && st.AppliedIndex >= since && st.AppliedIndex+caughtUp >= commit
}

func (b backend) giveVote(ctx context.Context, id raft.ServerID) {
	err := b.change(ctx, func(m raft.Configuration) error {
		for _, s := range m.Servers {
			if s.ID == id && s.Suffrage == raft.Nonvoter {
				_, err := b.changed(ctx, b.raft.AddVoter(s.ID, s.Address, b.since(), changeTimeout))
				if err == nil {
					b.cfg.AuditLogger.Info("member has a vote", "member", nodeID(id))
				}
				return err
			}
		}
		return nil // removed meanwhile
	})
	if err != nil && ctx.Err() == nil {
		b.log.Warn("a node that has caught up has no vote yet", "id", nodeID(id), "error", err)
	}
}
