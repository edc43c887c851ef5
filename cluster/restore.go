package cluster

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/fsm"
)

// RestoreConfig says what a backup is to become: one founding node of a new cluster.
// Everything but ID, DataDir and LogStore must be the same for every one of them; a
// node that was made with anything else is of another cluster, and cannot talk to them.
type RestoreConfig struct {
	// ID is the node's, one of Peers.
	ID string
	// DataDir must be empty or not be there.
	DataDir string
	// Peers are the founding members of the new cluster.
	Peers []Peer
	// ClusterName of the new cluster; nil: that of the old one. The nodes must be
	// opened with it.
	ClusterName *string
	// LogStore as in [Config].
	LogStore LogStore
	// Generation is what the tokens of the new cluster begin with, and part of its
	// identity: [fsm.NextGeneration] of the backup, which zero stands for, or more. Who
	// restores a cluster from the same backup, or from an older one, a second time must
	// take one that no restored cluster had.
	Generation uint64
	// DropHolds leaves out the holds, and the lines before them.
	DropHolds bool
}

// Validate reports every fault of the configuration, joined; each is a
// [sema.InvalidError].
func (c RestoreConfig) Validate() error {
	errs := []error{validateID("id", c.ID)}
	if c.DataDir == "" {
		errs = append(errs, invalid("data-dir", "", "a directory"))
	}
	if len(c.Peers) == 0 {
		errs = append(errs, invalid("peers", "", "the founding members of the new cluster"))
	} else {
		errs = append(errs, Config{ID: c.ID, Peers: c.Peers}.validatePeers())
	}
	if c.LogStore != "" && c.LogStore != WAL && c.LogStore != BoltDB {
		errs = append(errs, invalid("log-store", string(c.LogStore), string(WAL)+" or "+string(BoltDB)))
	}
	if c.Generation > fsm.MaxGeneration {
		errs = append(errs, invalid("generation", strconv.FormatUint(c.Generation, 10), fmt.Sprintf("at most %d", fsm.MaxGeneration)))
	}
	return errors.Join(errs...)
}

// Restored is what was made of a backup.
type Restored struct {
	Backup     backup.Summary
	Founding   Founding
	Generation uint64
	LastToken  uint64 // all that are granted from now on are above it
	Holds      int    // that the new cluster begins with
}

// Restore makes a backup the data directory of one node of a new cluster, which
// [Open] opens then. Every founding node is made from the same file. The backup is read
// to its end and held to all its checksums before anything is written. On an error
// nothing is left behind but, possibly, an empty directory; what a process leaves behind that is killed, the next call
// removes.
func Restore(ctx context.Context, cfg RestoreConfig, from io.Reader) (Restored, error) {
	if err := cfg.Validate(); err != nil {
		return Restored{}, err
	}
	if err := emptyForRestore(cfg.DataDir); err != nil {
		return Restored{}, err
	}
	machine := fsm.New()
	summary, err := ReadBackup(untilDone{ctx, from}, machine)
	if err != nil {
		return Restored{}, err
	}
	cfg.Generation = cmp.Or(cfg.Generation, fsm.NextGeneration(summary.Header.Facts.LastToken))
	if cfg.ClusterName == nil {
		cfg.ClusterName = &summary.Header.ClusterName
	}
	if err := machine.Succeed(fsm.Succession{Generation: cfg.Generation, DropHolds: cfg.DropHolds}); err != nil {
		return Restored{}, err
	}
	r := restoration{cfg: cfg, summary: summary, machine: machine}
	if err := r.found(); err != nil {
		return Restored{}, err
	}
	if err := r.write(ctx); err != nil {
		return Restored{}, fmt.Errorf("data directory %s: %w", cfg.DataDir, err)
	}
	facts := machine.Facts()
	return Restored{Backup: summary, Generation: cfg.Generation, LastToken: facts.LastToken, Holds: facts.Holds,
		Founding: Founding{NodeID: cfg.ID, ClusterName: *cfg.ClusterName, ClusterID: r.record.ClusterID, Peers: cfg.Peers}}, nil
}

// untilDone reads until ctx ends.
type untilDone struct {
	ctx  context.Context
	from io.Reader
}

// Read implements [io.Reader].
func (r untilDone) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.from.Read(p)
}

// ReadBackup reads a backup to its end, with all its checksums, and gives its state to
// a machine, which must be new. What the backup says of itself is held to that state. On
// an error the machine is of no use.
func ReadBackup(from io.Reader, machine *fsm.Machine) (backup.Summary, error) {
	summary, err := backup.Read(from, func(state io.Reader) error {
		return machine.Restore(io.NopCloser(state))
	})
	if err != nil {
		return summary, err
	}
	said, is := summary.Header.Facts, machine.Facts()
	is.Index, is.Term = said.Index, said.Term
	if said != is {
		return summary, fmt.Errorf("%w: it says of itself %+v, and what is in it is %+v", backup.ErrDamaged, said, is)
	}
	return summary, nil
}

// restoringFile marks a directory in which a backup is being restored. It goes last,
// and node.json comes before.
const restoringFile = "restoring"

// emptyForRestore refuses a directory with anything in it, but for what a restore
// left behind that was killed, which it removes.
func emptyForRestore(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if exists(filepath.Join(dir, restoringFile)) && !exists(filepath.Join(dir, foundingFile)) {
		return removeRestored(dir)
	}
	for _, e := range entries {
		if name := e.Name(); name != "lost+found" {
			return fmt.Errorf("data directory %s is not empty, it holds %s: restore into an empty one", dir, name)
		}
	}
	return nil
}

// removeRestored removes what a restore has written, its mark at the end.
func removeRestored(dir string) error {
	var errs []error
	for _, name := range []string{logFile, walDir, snapshotDir, foundingFile, restoringFile} {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	return errors.Join(append(errs, syncDirectory(dir))...)
}

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

// write fills the directory. node.json comes last: without it no node takes the
// directory for its own.
func (r *restoration) write(ctx context.Context) (err error) {
	dir := r.cfg.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	mark, err := os.OpenFile(filepath.Join(dir, restoringFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err // somebody else restores here
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeRestored(dir))
		}
	}()
	if err := errors.Join(mark.Sync(), mark.Close(), syncDirectory(dir)); err != nil {
		return err
	}
	if err := r.writeLog(); err != nil {
		return err
	}
	if err := r.writeSnapshot(); err != nil {
		return err
	}
	if err := checkDisk(dir, r.record.store()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := writeFounding(dir, r.record); err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(dir, restoringFile)), syncDirectory(dir))
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
