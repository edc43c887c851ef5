package cluster_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
)

func TestOpenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	used := newHarness(t, 1, nil)
	used.start("n1")
	used.close("n1")

	cases := []struct {
		name    string
		tune    func(*cluster.Config)
		want    string
		invalid bool
	}{
		{"no id", func(c *cluster.Config) { c.ID = "" }, "invalid id", true},
		{"no directory", func(c *cluster.Config) { c.DataDir = "" }, "invalid data-dir", true},
		{"a repeated peer", func(c *cluster.Config) { c.Peers = append(c.Peers, c.Peers[0]) }, "each id once", true},
		{"peers without this node", func(c *cluster.Config) { c.Peers[0].ID = "n9" }, `"n1", in it`, true},
		{"no peers at first", func(c *cluster.Config) { c.Peers = nil }, "founding members", true},
		{"an address without a port", func(c *cluster.Config) { c.RaftAddr = "localhost" }, "HOST:PORT", true},
		{"a raft address in use", func(c *cluster.Config) { c.RaftAddr = taken.Addr().String() }, "address already in use", false},
		{"a grpc address in use", func(c *cluster.Config) { c.GRPCAddr = taken.Addr().String() }, "address already in use", false},
		{"a directory under a file", func(c *cluster.Config) { c.DataDir = filepath.Join(file, "dir") }, "not a directory", false},
		{"a directory of other things", func(c *cluster.Config) { c.DataDir = filepath.Dir(file) }, "not a node's directory", false},
		{"another node's directory", func(c *cluster.Config) {
			c.DataDir = used.cfgs["n1"].DataDir
			c.ID, c.Peers[0].ID = "n2", "n2"
		}, `belongs to node "n1"`, false},
		{"another cluster's directory", func(c *cluster.Config) { c.DataDir = used.cfgs["n1"].DataDir }, "founded by", false},
		{"a cluster of another name", func(c *cluster.Config) {
			*c = used.cfgs["n1"]
			c.ClusterName = "prod"
		}, `not to "prod"`, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := newHarness(t, 1, nil).cfgs["n1"]
			c.tune(&cfg)
			node, err := cluster.Open(context.Background(), cfg)
			if err == nil {
				node.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || errors.Is(err, sema.ErrInvalid) != c.invalid ||
				!c.invalid && strings.Contains(err.Error(), "\n") { // faults of a configuration are told all at once
				t.Fatalf("error %q, want one with %q, invalid: %t", err, c.want, c.invalid)
			}
		})
	}
}

func TestDirectoryInUse(t *testing.T) {
	h := startHarness(t, 1, nil)
	cfg := h.cfgs["n1"]
	cfg.RaftAddr = "127.0.0.1:0"
	if node, err := cluster.Open(context.Background(), cfg); err == nil {
		node.Close()
		t.Fatal("opened twice")
	} else if !strings.Contains(err.Error(), "in use by another process") {
		t.Fatal(err)
	}
}

func TestLostLog(t *testing.T) {
	h := startHarness(t, 1, nil)
	h.close("n1")
	if err := os.Remove(filepath.Join(h.cfgs["n1"].DataDir, "raft.db")); err != nil {
		t.Fatal(err)
	}
	if node, err := cluster.Open(context.Background(), h.cfgs["n1"]); err == nil {
		node.Close()
		t.Fatal("a node that lost its votes voted again")
	} else if !strings.Contains(err.Error(), "lost its log") {
		t.Fatal(err)
	}
}

func TestLaterStartNeedsNoPeers(t *testing.T) {
	h := startHarness(t, 1, nil)
	h.close("n1")
	cfg := h.cfgs["n1"]
	cfg.Peers = nil
	h.cfgs["n1"] = cfg
	h.start("n1")
	h.leader()
	founding, err := cluster.ReadFounding(cfg.DataDir)
	if err != nil || founding.NodeID != "n1" || len(founding.Peers) != 1 {
		t.Fatalf("%+v, %v", founding, err)
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("nodes", func(t *testing.T) {
		h := startHarness(t, 3, nil)
		acquire(t, h.leader(), "a", "alice", sema.MinTimeout)
	})
	goleak.VerifyNone(t, before)
}
