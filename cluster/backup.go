package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

var _ transport.Saver = backend{}

// errSaving: what changes is kept for a backup until it is written, so there is one at
// a time.
var errSaving = fmt.Errorf("%w: a backup is being taken from this node already, take yours when it is done", sema.ErrOverloaded)

// Save implements [transport.Saver]. The state is that after an entry of its own was
// applied here: all that was acknowledged before the call is in it, whatever becomes of
// this leader while it is written.
func (b backend) Save(ctx context.Context, req transport.SaveRequest, to io.Writer) error {
	if !req.Stale {
		if _, err := b.leading(); err != nil {
			return err
		}
	}
	if !b.saving.CompareAndSwap(false, true) {
		return errSaving
	}
	defer b.saving.Store(false)
	source := backup.Stale
	if !req.Stale {
		source = backup.Leader
		// What is asked is of no matter: that the entry was applied is what counts.
		if _, err := b.propose(ctx, nil, fsm.Command{Kind: fsm.Query}); err != nil && !errors.Is(err, sema.ErrNotFound) {
			return b.readError(ctx, err)
		}
	}
	header, err := b.backupHeader(source)
	if err != nil {
		return err
	}
	state, err := b.machine.Backup()
	if err != nil {
		return err
	}
	defer state.Release()
	if facts := state.Facts(); facts.Index > 0 {
		header.Facts = facts
	} else { // nothing was applied since the node started: it is as its snapshot was
		index, term := header.Facts.Index, header.Facts.Term
		header.Facts = facts
		header.Facts.Index, header.Facts.Term = index, term
	}
	begun := time.Now()
	if err := backup.Write(to, header, state.WriteSnapshot); err != nil {
		return err
	}
	b.log.Info("backup taken", "source", source, "index", header.Facts.Index, "holds", header.Facts.Holds, "took", time.Since(begun).Round(time.Millisecond).String())
	return nil
}

// backupHeader is what a backup says of this node and its cluster, with the entry
// that was applied last as far as raft knows.
func (n *Node) backupHeader(source backup.Source) (backup.Header, error) {
	founding := n.record.get()
	h := backup.Header{ClusterName: founding.ClusterName, NodeID: n.cfg.ID, Source: source, Taken: n.cfg.Host.Clock.Wall()}
	h.ClusterID, _ = founding.cluster()
	future := n.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return h, fmt.Errorf("membership: %w", err)
	}
	h.Members = backupMembers(future.Configuration())
	h.Facts.Index, h.Facts.Term = n.raft.AppliedIndex(), n.raft.CurrentTerm()
	return h, nil
}

func backupMembers(c raft.Configuration) []backup.Member {
	members := make([]backup.Member, len(c.Servers))
	for i, s := range c.Servers {
		members[i] = backup.Member{ID: nodeID(s.ID), RaftAddr: string(s.Address), Voter: s.Suffrage == raft.Voter}
	}
	return members
}
