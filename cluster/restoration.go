package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/fsm"
)

// restoration is one under way.
type restoration struct {
	cfg     RestoreConfig
	summary backup.Summary
	machine *fsm.Machine
	record  foundingRecord
}

// found makes the founding record of the new cluster. Everything that its first state
// depends on is in its identity.
func (r *restoration) found() (err error) {
	cfg := Config{ID: r.cfg.ID, ClusterName: *r.cfg.ClusterName, Peers: r.cfg.Peers, LogStore: r.cfg.LogStore}
	if r.record, err = newFounding(cfg); err != nil {
		return err
	}
	r.record.Restored = fmt.Sprintf("%x/%d", r.summary.SHA256, r.cfg.Generation)
	if r.cfg.DropHolds {
		r.record.Restored += "/no holds"
	}
	id := r.record.identity(cfg)
	r.record.ClusterID = hex.EncodeToString(id[:])
	r.record.Bootstrapped = true // the membership is in the snapshot
	return nil
}

// identity is the cluster's: that of its founding members or, if it was made of a
// backup, of what it was made of besides. So neither the old cluster nor one that was
// made of another file, or otherwise, can be mixed with it.
func (r foundingRecord) identity(cfg Config) [16]byte {
	if r.Restored == "" {
		return cfg.clusterID()
	}
	sum := sha256.Sum256([]byte(cfg.ClusterName + "\n" + formatPeers(cfg.Peers) + "\n" + r.Restored))
	return [16]byte(sum[:16])
}

// write fills the directory, which has its mark. node.json comes last: without it no node
// takes the directory for its own.
func (r *restoration) write(ctx context.Context, mark *restoring) error {
	dir := r.cfg.DataDir
	if err := r.writeLog(); err != nil {
		return err
	}
	if err := r.writeSnapshot(); err != nil {
		return err
	}
	if err := checkDisk(dir, r.record.store(), fsm.Level); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	mark.own = r.record.Incarnation
	if err := createFounding(dir, r.record); err != nil {
		return err
	}
	return mark.release()
}

// index and term are those at which the new cluster begins, on every node.
func (r *restoration) index() uint64 { return max(r.summary.Header.Facts.Index, 1) }
func (r *restoration) term() uint64  { return max(r.summary.Header.Facts.Term, 1) }

// writeLog makes an empty log, in the term of the snapshot.
func (r *restoration) writeLog() error {
	bolt, err := openBolt(r.cfg.DataDir, false)
	if err != nil {
		return err
	}
	err = bolt.SetUint64(termKey, r.term())
	_, closeLog, openErr := openStore(Config{DataDir: r.cfg.DataDir}, bolt, r.record.store(), hclog.NewNullLogger())
	if openErr != nil {
		return errors.Join(err, openErr, bolt.Close())
	}
	return errors.Join(err, closeLog())
}

// writeSnapshot writes the state and the membership as if a node had.
func (r *restoration) writeSnapshot() error {
	store, err := raft.NewFileSnapshotStoreWithLogger(r.cfg.DataDir, retainedSnapshots, hclog.NewNullLogger()) // errors tell
	if err != nil {
		return err
	}
	if err := closeToOthers(r.cfg.DataDir); err != nil { // before there is anything to read
		return err
	}
	members, err := foundingMembers(r.record)
	if err != nil {
		return err
	}
	_, encodes := raft.NewInmemTransport("") // for the form of addresses that raft had before
	sink, err := store.Create(raft.SnapshotVersionMax, r.index(), r.term(), members, r.index(), encodes)
	if err != nil {
		return err
	}
	state, err := r.machine.Snapshot()
	if err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return state.Persist(sink) // closes or cancels
}
