//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/semanode/sema"
	"github.com/semanode/sema/bench/internal/proc"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/load"
	"github.com/semanode/sema/transport"
)

// semaPeer is three semanode processes.
type semaPeer struct {
	scratch string
	binary  string // empty until it was built
	flags   []string
}

func newSema(cfg Config) *semaPeer {
	return &semaPeer{scratch: cfg.Scratch, binary: cfg.Semanode, flags: cfg.SemaFlags}
}

func (*semaPeer) Name() string { return "sema" }

// Find builds semanode from the repository that this module belongs to.
func (s *semaPeer) Find(ctx context.Context) (About, error) {
	about := About{Name: "Sema", Version: "of " + s.binary, Settings: "three processes; settings: default"}
	if len(s.flags) > 0 {
		about.Settings += " and " + strings.Join(s.flags, " ")
	}
	if s.binary != "" {
		_, err := os.Stat(s.binary)
		return about, err
	}
	root, err := proc.Run(ctx, proc.Spec{Path: "go", Args: []string{"list", "-m", "-f", "{{.Dir}}", "github.com/semanode/sema"}})
	if err != nil {
		return About{}, fmt.Errorf("the repository is not found; run this in its directory bench: %w", err)
	}
	binary := filepath.Join(s.scratch, "semanode")
	if _, err := proc.Run(ctx, proc.Spec{Path: "go", Args: []string{"build", "-o", binary, "./cmd/semanode"}, Dir: root}); err != nil {
		return About{}, err
	}
	s.binary = binary
	about.Version = revision(ctx, root)
	return about, nil
}

// revision names the state of the repository. Not knowing it spoils nothing.
func revision(ctx context.Context, root string) string {
	text, err := proc.Run(ctx, proc.Spec{Path: "git", Args: []string{"describe", "--always", "--tags", "--dirty=, changed since"}, Dir: root})
	if err != nil {
		return "unknown revision"
	}
	return text
}

func (s *semaPeer) Start(ctx context.Context, dir string) (_ Running, err error) {
	addrs, err := proc.FreePorts(2 * clusterSize)
	if err != nil {
		return nil, err
	}
	raft, grpc := addrs[:clusterSize], addrs[clusterSize:]
	ids := []string{"n1", "n2", "n3"}
	var specs []proc.Spec
	for i, id := range ids {
		specs = append(specs, proc.Spec{
			Path: s.binary,
			Args: append([]string{"serve", "--id", id, "--data-dir", filepath.Join(dir, id), "--raft-addr", raft[i], "--grpc-addr", grpc[i],
				"--peers", pairs(ids, raft, "")}, s.flags...),
			Ready: "is ready",
		})
	}
	all, err := startNodes(ctx, specs)
	if err != nil {
		return nil, err
	}
	r := &semaRunning{nodes: all, ids: ids, endpoints: grpc}
	if r.admin, err = r.client(); err == nil {
		err = r.Whole(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// semaRunning is a cluster that serves.
type semaRunning struct {
	nodes
	ids, endpoints []string
	admin          *client.Client
}

var (
	_ Cluster = (*semaRunning)(nil)
	_ Indexer = (*semaRunning)(nil)
)

func (r *semaRunning) client() (*client.Client, error) {
	return client.New(client.Config{Endpoints: r.endpoints})
}

func (r *semaRunning) Stop() error {
	var err error
	if r.admin != nil {
		err = r.admin.Close()
	}
	return errors.Join(err, r.stop())
}

// Ways: one client for all workers, as in a program that uses the package.
func (r *semaRunning) Ways(load.Mode) []Way {
	return []Way{{Column: "Sema", Note: "one client", Open: func(context.Context, int) (*Access, error) {
		c, err := r.client()
		if err != nil {
			return nil, err
		}
		return &Access{
			Dial:  func(worker int) (load.Locker, error) { return newSemaLocker(c, worker), nil },
			Close: func() error { return errors.Join(r.crashed(), c.Close()) },
		}, nil
	}}}
}

// Endpoints are where the nodes serve clients.
func (r *semaRunning) Endpoints() []string { return r.endpoints }

// status returns how the cluster is and which node leads it.
func (r *semaRunning) status(ctx context.Context) (transport.ClusterStatus, int, error) {
	status, err := r.admin.Status(ctx)
	if err != nil {
		return status, 0, err
	}
	for i, n := range status.Nodes { // in the order of ids, which is ours
		if n.Leader {
			return status, i, nil
		}
	}
	return status, 0, sema.ErrNoLeader
}

// Leader implements [Cluster].
func (r *semaRunning) Leader(ctx context.Context) (int, error) {
	_, leader, err := r.status(ctx)
	return leader, err
}

// LogIndex implements [Indexer].
func (r *semaRunning) LogIndex(ctx context.Context) (uint64, error) {
	status, leader, err := r.status(ctx)
	if err != nil {
		return 0, err
	}
	return status.Nodes[leader].CommitIndex, nil
}

// Whole implements [Cluster].
func (r *semaRunning) Whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	return until(ctx, "the cluster is whole", func() error {
		status, leader, err := r.status(ctx)
		if err != nil {
			return err
		}
		if len(status.Nodes) != len(r.ids) {
			return fmt.Errorf("%d nodes", len(status.Nodes))
		}
		for _, n := range status.Nodes {
			if n.Err != "" || n.AppliedIndex < status.Nodes[leader].CommitIndex {
				return fmt.Errorf("node %s is behind or %s", n.ID, n.State)
			}
		}
		return nil
	})
}
