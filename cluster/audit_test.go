package cluster_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
)

// TestMembersAreAudited: each change of the members is one line of the audit log, whoever
// asked for it, and with a log that is otherwise silent.
func TestMembersAreAudited(t *testing.T) {
	t.Parallel()
	admin := access.NewToken()
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte("identities: [{name: admin, tokens: [\""+admin.Hash().String()+"\"]}]\nrules: [{who: [admin], rights: [admin]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"without an access file": "", "with one": file} {
		audit := new(lockedBuffer)
		h := startHarness(t, 1, func(c *cluster.Config) {
			c.AccessFile, c.ElectionTimeout = file, time.Second
			c.Logger, c.AuditLogger = hclog.NewNullLogger(), hclog.New(&hclog.LoggerOptions{Output: audit})
		})
		h.joins("n2")
		h.start("n2")
		h.becomes("n1", "n2")
		if file == "" {
			h.remove("n2")
		} else if err := h.at(h.nodes["n1"], admin, false).RemoveNode(soon(t), "n2", false); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"member joined: member=n2 raft-addr=" + h.cfgs["n2"].RaftAddr, "member has a vote: member=n2", "member removed: "} {
			eventually(t, name+", in the audit log: "+line, func() error {
				if n := strings.Count(audit.String(), line); n != 1 {
					return fmt.Errorf("%d lines, want 1, in %s", n, audit.String())
				}
				return nil
			})
		}
		if file != "" && !strings.Contains(audit.String(), "member removed: identity=admin from=127.0.0.1:") {
			t.Errorf("it does not say who: %s", audit.String())
		}
	}
}

// TestInsecureDoesNotTakeTokens: to listen without TLS is one thing, and to believe what others
// can have read on the way another.
func TestInsecureDoesNotTakeTokens(t *testing.T) {
	t.Parallel()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	host := ""
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			host = n.IP.String()
		}
	}
	if host == "" {
		t.Skip("this machine has no address but loopback")
	}
	for _, tokens := range []bool{false, true} {
		h := startGuarded(t, 1, func(c *cluster.Config) { c.GRPCAddr, c.Insecure, c.InsecureTokens = host+":0", true, tokens })
		c, err := client.New(client.Config{Endpoints: []string{h.leader().GRPCAddr()}, Token: string(worker), InsecureToken: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Acquire(soon(t), "a/1", "o", time.Minute); tokens != (err == nil) || !tokens && !errors.Is(err, sema.ErrUnauthenticated) {
			t.Errorf("with insecure tokens %v: %v", tokens, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
