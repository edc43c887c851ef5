package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

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
	// identity: [fsm.NextGeneration] of the backup, which zero stands for, or more. Zero is
	// right for the first restore, and for a backup that was taken from the cluster that
	// was restored last. For every other one, be its backup older or newer than that of the
	// restore before, it must be above the highest that any restore had: else tokens
	// repeat, which nobody can see from the backup.
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
		errs = append(errs, Config{ID: c.ID, Peers: c.Peers}.validatePeers(true))
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
// [Open] opens then. Every founding node is made from the same file. Nobody else can restore
// into the directory meanwhile, and no node starts in it. The backup is read to its end and
// held to all its checksums before anything is written but the mark that sees to that. On
// an error nothing that this call has made is left behind; what a process leaves behind that
// is killed, the next call removes.
func Restore(ctx context.Context, cfg RestoreConfig, from io.Reader) (restored Restored, err error) {
	if err := cfg.Validate(); err != nil {
		return Restored{}, err
	}
	mark, err := markRestoring(cfg.DataDir)
	if err != nil {
		return Restored{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, mark.abandon())
		}
	}()
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
	if err := r.write(ctx, mark); err != nil {
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
	if err := machine.Examine(); err != nil {
		return summary, fmt.Errorf("%w: %w", backup.ErrDamaged, err)
	}
	said, is := summary.Header.Facts, machine.Facts()
	is.Index, is.Term = said.Index, said.Term
	if said != is {
		return summary, fmt.Errorf("%w: it says of itself %+v, and what is in it is %+v", backup.ErrDamaged, said, is)
	}
	return summary, nil
}
