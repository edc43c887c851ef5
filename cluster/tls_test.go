package cluster_test

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/internal/pki"
	"github.com/semanode/sema/internal/pki/pkitest"
)

// TestMutualTLS has three nodes that speak TLS with each other and with clients: they form
// a cluster, pass calls on, and outlive their leader.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t)
	h := startHarness(t, 3, func(c *cluster.Config) {
		node := ca.Config(func(r *pki.Request) { r.Name = c.ID })
		c.PeerTLS = func() *tls.Config { return node }
		c.TLS = ca.Config(nil)
		c.TLS.ClientCAs, c.TLS.ClientAuth = ca.Pool(), tls.RequireAndVerifyClientCert
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	follower := h.follower()
	dial := func(config *tls.Config) *client.Client {
		c, err := client.New(client.Config{Endpoints: []string{follower.GRPCAddr()}, TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := dial(ca.Config(pkitest.AsClient))
	first, err := c.Acquire(ctx, "a", "me", time.Minute) // passed on
	if err != nil || first.Status != sema.Acquired {
		t.Fatal(first, err)
	}
	h.kill(h.leader().ID())
	h.leader()
	if _, err := c.Touch(ctx, "a"); err != nil {
		t.Fatalf("after the death of the leader: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if _, err := dial(nil).Get(short, "a"); !errors.Is(err, sema.ErrNoLeader) || !strings.Contains(err.Error(), "does the node expect TLS? Give --tls-ca") {
		t.Errorf("in plain text: %v", err)
	}
}

// TestANodeWithoutCertificateStaysOut starts the third node again without TLS: it is told so,
// and takes no part any more; with a client's certificate in the place of a node's it does not start.
func TestANodeWithoutCertificateStaysOut(t *testing.T) {
	t.Parallel()
	ca := pkitest.New(t)
	h := startHarness(t, 3, func(c *cluster.Config) { c.PeerTLS = func() *tls.Config { return ca.Config(nil) } })
	h.close("n3")
	cfg := h.cfgs["n3"]
	cfg.PeerTLS = nil
	h.cfgs["n3"] = cfg
	n3 := h.start("n3")
	h.leader()
	eventually(t, "n3 is turned away and says why", func() error {
		if !strings.Contains(h.logs.String(), "one of the two nodes speaks TLS") {
			return errors.New("it does not")
		}
		return nil
	})
	if n3.Leader().ID != "" {
		t.Errorf("it follows %v", n3.Leader())
	}
	cfg.PeerTLS = func() *tls.Config { return ca.Config(pkitest.AsClient) }
	if err := cfg.Validate(); !errors.Is(err, sema.ErrInvalid) || !strings.Contains(err.Error(), "node.sema is not among") {
		t.Errorf("with a client's certificate: %v", err)
	}
}

// TestExposure: no port is open beyond this machine by mistake.
func TestExposure(t *testing.T) {
	node := pkitest.New(t).Config(nil)
	peer := func() *tls.Config { return node }
	for _, tc := range []struct {
		name string
		cfg  cluster.Config
		want []string // fields
	}{
		{"loopback", cluster.Config{RaftAddr: "127.0.0.1:0", GRPCAddr: "[::1]:0"}, nil},
		{"loopback by name", cluster.Config{RaftAddr: "localhost:0", GRPCAddr: "localhost:0"}, nil},
		{"all of 127", cluster.Config{RaftAddr: "127.1.2.3:0"}, nil},
		{"any address", cluster.Config{RaftAddr: ":0", GRPCAddr: "0.0.0.0:0"}, []string{"raft-addr", "grpc-addr"}},
		{"any address, v6", cluster.Config{RaftAddr: "[::]:0", GRPCAddr: "[fe80::1]:0"}, []string{"raft-addr", "grpc-addr"}},
		{"a name", cluster.Config{RaftAddr: "n1.example.com:1"}, []string{"raft-addr"}},
		{"TLS on one", cluster.Config{RaftAddr: "10.0.0.1:1", GRPCAddr: "10.0.0.1:2", PeerTLS: peer}, []string{"grpc-addr"}},
		{"TLS on the other", cluster.Config{RaftAddr: "10.0.0.1:1", GRPCAddr: "10.0.0.1:2", TLS: node}, []string{"raft-addr"}},
		{"TLS", cluster.Config{RaftAddr: "10.0.0.1:1", GRPCAddr: "10.0.0.1:2", PeerTLS: peer, TLS: node}, nil},
		{"on purpose", cluster.Config{RaftAddr: "10.0.0.1:1", GRPCAddr: "10.0.0.1:2", Insecure: true}, nil},
		{"peers without authority", cluster.Config{RaftAddr: "127.0.0.1:0", PeerTLS: func() *tls.Config { return &tls.Config{Certificates: node.Certificates} }}, []string{"peer-tls"}},
		{"peers without anything", cluster.Config{RaftAddr: "127.0.0.1:0", PeerTLS: func() *tls.Config { return nil }}, []string{"peer-tls"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.ID, tc.cfg.DataDir = "n1", "d"
			err := tc.cfg.Validate()
			if (err == nil) != (tc.want == nil) {
				t.Fatal(err)
			}
			for _, field := range tc.want {
				if !strings.Contains(err.Error(), "invalid "+field) {
					t.Errorf("want %s in %v", field, err)
				}
			}
		})
	}
}

// TestInsecureIsLogged: a port that is open on purpose says so at every start.
func TestInsecureIsLogged(t *testing.T) {
	log := new(lockedBuffer)
	h := newHarness(t, 1, func(c *cluster.Config) {
		c.RaftAddr, c.GRPCAddr, c.Insecure = "0.0.0.0:0", "0.0.0.0:0", true
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn})
	})
	h.start("n1")
	h.close("n1")
	for _, want := range []string{"listening without TLS: whoever reaches the port can change everything: raft-addr=0.0.0.0:0", "take and release everything: grpc-addr=0.0.0.0:0"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("want %q in %s", want, log.String())
		}
	}
}
