//go:build unix

package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/semanode/sema/bench/internal/proc"
	"github.com/semanode/sema/internal/load"
)

// etcd is three etcd servers.
type etcd struct {
	// tuned halves the election timeout and the heartbeat, to what Sema's are.
	tuned bool
}

// TunedEtcd is etcd with an election timeout like Sema's, for failovers.
func TunedEtcd() Peer { return &etcd{tuned: true} }

func (*etcd) Name() string { return "etcd" }

func (e *etcd) Find(context.Context) (About, error) {
	about := About{Name: "etcd", Version: version.Version, Settings: "three processes of the embedded server, which is the program's code; settings: default"}
	if e.tuned {
		about.Name = "etcd, tuned"
		about.Settings += ", but an election timeout of 400 ms and a heartbeat of 40 ms"
	}
	return about, nil
}

func (e *etcd) Start(ctx context.Context, dir string) (_ Running, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addrs, err := proc.FreePorts(2 * clusterSize)
	if err != nil {
		return nil, err
	}
	ids := []string{"n1", "n2", "n3"}
	clients, peers := addrs[:clusterSize], addrs[clusterSize:]
	var specs []proc.Spec
	for i, id := range ids {
		args := []string{"peer", "etcd", "-name", id, "-dir", filepath.Join(dir, id), "-clients", "http://" + clients[i], "-peers", "http://" + peers[i],
			"-cluster", pairs(ids, peers, "http://")}
		if e.tuned {
			args = append(args, "-election", "400", "-heartbeat", "40")
		}
		specs = append(specs, proc.Spec{Path: self, Args: args, Ready: etcdReady})
	}
	all, err := startNodes(ctx, specs)
	if err != nil {
		return nil, err
	}
	r := &etcdRunning{nodes: all, endpoints: clients}
	if r.admin, err = r.client(r.endpoints...); err == nil {
		err = r.Whole(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

// etcdRunning is a cluster that serves.
type etcdRunning struct {
	nodes
	endpoints []string
	admin     *clientv3.Client
}

var (
	_ Cluster = (*etcdRunning)(nil)
	_ Indexer = (*etcdRunning)(nil)
)

func (r *etcdRunning) client(endpoints ...string) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("etcd client: %w", err)
	}
	return c, nil
}

func (r *etcdRunning) Stop() error {
	var err error
	if r.admin != nil {
		err = r.admin.Close()
	}
	return errors.Join(err, r.stop())
}

// The ways in which clients are set up. A client of all endpoints asks them in turn, and
// those that do not lead pass the call on.
var etcdSetups = []struct {
	note    string
	clients int
	all     bool
}{
	{"one client of the leader", 1, false},
	{"four clients of the leader", 4, false},
	{"one client of all three", 1, true},
}

// Ways implements [Running].
func (r *etcdRunning) Ways(mode load.Mode) []Way {
	kinds := map[load.Mode]map[string]etcdLockerFunc{
		load.Cycle:   {"etcd, txn": newEtcdTxn, "etcd, Mutex": newEtcdMutex},
		load.Handoff: {"etcd, Mutex": newEtcdWaiter},
		load.Poll:    {"etcd, txn": newEtcdTxn, "etcd, read first": newEtcdReader},
	}
	var ways []Way
	for _, column := range []string{"etcd, txn", "etcd, read first", "etcd, Mutex"} {
		open, ok := kinds[mode][column]
		if !ok {
			continue
		}
		for _, setup := range etcdSetups {
			ways = append(ways, Way{Column: column, Note: setup.note, Open: func(ctx context.Context, _ int) (*Access, error) {
				endpoints := r.endpoints
				if !setup.all {
					leader, err := r.Leader(ctx)
					if err != nil {
						return nil, err
					}
					endpoints = r.endpoints[leader : leader+1]
				}
				return r.open(ctx, setup.clients, endpoints, open)
			}})
		}
	}
	return ways
}

// status asks every node how it is.
func (r *etcdRunning) status(ctx context.Context) (all []*clientv3.StatusResponse, leader int, err error) {
	leader = -1
	for i, endpoint := range r.endpoints {
		s, err := r.admin.Status(ctx, endpoint)
		if err != nil {
			return nil, 0, err
		}
		if s.Leader == s.Header.MemberId {
			leader = i
		}
		all = append(all, s)
	}
	if leader < 0 {
		return nil, 0, errors.New("etcd has no leader")
	}
	return all, leader, nil
}

// Leader implements [Cluster].
func (r *etcdRunning) Leader(ctx context.Context) (int, error) {
	_, leader, err := r.status(ctx)
	return leader, err
}

// LogIndex implements [Indexer].
func (r *etcdRunning) LogIndex(ctx context.Context) (uint64, error) {
	all, leader, err := r.status(ctx)
	if err != nil {
		return 0, err
	}
	return all[leader].RaftIndex, nil
}

// Whole implements [Cluster].
func (r *etcdRunning) Whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	return until(ctx, "etcd is whole", func() error {
		asking, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		all, leader, err := r.status(asking)
		if err != nil {
			return err
		}
		for i, s := range all {
			if s.Leader != all[leader].Leader || s.RaftAppliedIndex < all[leader].RaftIndex {
				return fmt.Errorf("node %d is behind", i+1)
			}
		}
		return nil
	})
}
