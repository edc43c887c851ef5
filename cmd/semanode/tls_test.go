package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/transport/tlsfiles"
)

// secured is a cluster of processes with TLS on all ports, and the files that all share.
type secured struct {
	*nodes
	dir string // with ca.pem, node.pem, client.pem and their keys
}

func startSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{dir: t.TempDir()}
	semanode(t, "cert", "ca", "--dir", s.dir).ok(t)
	semanode(t, "cert", "node", "node", "--dir", s.dir, "--host", "127.0.0.1").ok(t)
	semanode(t, "cert", "client", "client", "--dir", s.dir).ok(t)
	s.nodes = startNodes(t, 3, "--log-level", "info", "--tls-cert", s.path("node.pem"), "--tls-key", s.path("node-key.pem"),
		"--tls-client-ca", s.path("ca.pem"), "--peer-tls-ca", s.path("ca.pem"))
	return s
}

func (s *secured) path(name string) string { return filepath.Join(s.dir, name) }

// tlsFlags are those of a client.
func (s *secured) tlsFlags() []string {
	return []string{"--endpoints", s.endpoints(), "--tls-ca", s.path("ca.pem"), "--tls-cert", s.path("client.pem"), "--tls-key", s.path("client-key.pem")}
}

// reload makes every node read its files, and waits until it uses them.
func (s *secured) reload(files ...*tlsfiles.Files) {
	s.t.Helper()
	for _, f := range files {
		must(s.t, f.Reload())
	}
	const used = "using a certificate"
	for _, p := range s.processes {
		before := strings.Count(p.stderr.String(), used)
		p.signal(syscall.SIGHUP)
		eventually(s.t, "a node uses what was renewed, on both ports", func() bool { return strings.Count(p.stderr.String(), used) >= before+2 })
	}
}

// open returns the client's files, watched, and a function that makes clients with them.
func (s *secured) open() (*tlsfiles.Files, func() *client.Client) {
	s.t.Helper()
	files, err := tlsfiles.Open(tlsfiles.Config{Cert: s.path("client.pem"), Key: s.path("client-key.pem"), CA: s.path("ca.pem"), Use: tlsfiles.Client})
	must(s.t, err)
	s.t.Cleanup(func() { files.Close() })
	return files, func() *client.Client {
		c, err := client.New(client.Config{Endpoints: s.grpc, Credentials: files.Credentials("")})
		must(s.t, err)
		return c
	}
}

// TestRotation replaces certificates and then the authority of three nodes under load,
// without a restart and without a failed request.
func TestRotation(t *testing.T) {
	s := startSecured(t)
	files, dial := s.open()
	stop := s.work(dial)
	before := t.TempDir() // what the first authority made
	for _, name := range []string{"client.pem", "client-key.pem"} {
		data, err := os.ReadFile(s.path(name))
		must(t, err)
		must(t, writeWhole(filepath.Join(before, name), data, 0o600))
	}

	s.issue(s.dir) // new leaves of the same authority
	s.reload(files)
	s.crowd(dial)

	next := t.TempDir()
	semanode(t, "cert", "ca", "--dir", next).ok(t)
	old, err := os.ReadFile(s.path("ca.pem"))
	must(t, err)
	renewed, err := os.ReadFile(filepath.Join(next, "ca.pem"))
	must(t, err)
	must(t, writeWhole(s.path("ca.pem"), append(old, renewed...), 0o600)) // both, everywhere
	s.reload(files)
	s.crowd(dial)
	s.issue(next) // leaves of the new one
	s.reload(files)
	s.crowd(dial)
	must(t, writeWhole(s.path("ca.pem"), renewed, 0o600)) // the old one has gone
	s.reload(files)
	s.crowd(dial)

	cl := dial()
	defer cl.Close()
	s.processes[s.leader(cl)].kill() // the others connect to each other anew
	s.crowd(dial)
	requests, longest := stop()
	t.Logf("%d requests, none failed; the longest, over the death of a leader, took %v", requests, longest)
	if requests < 100 {
		t.Errorf("only %d requests: this shows nothing", requests)
	}

	// What the first authority made is worth nothing now.
	r := semanode(t, "get", "a", "--endpoints", s.endpoints(), "--rpc-timeout", "2s", "--tls-ca", s.path("ca.pem"),
		"--tls-cert", filepath.Join(before, "client.pem"), "--tls-key", filepath.Join(before, "client-key.pem"))
	contains(t, r.fault(t, exitFailed), "the node does not know the authority of --tls-cert")
}

// issue makes new certificates for the nodes and the client, of the authority in dir.
func (s *secured) issue(dir string) {
	s.t.Helper()
	by := []string{"--force", "--dir", s.dir, "--ca", filepath.Join(dir, "ca.pem"), "--ca-key", filepath.Join(dir, "ca-key.pem")}
	semanode(s.t, append([]string{"cert", "node", "node", "--host", "127.0.0.1"}, by...)...).ok(s.t)
	semanode(s.t, append([]string{"cert", "client", "client"}, by...)...).ok(s.t)
}

// crowd has a few new clients come, whose connections need a handshake.
func (s *secured) crowd(dial func() *client.Client) {
	s.t.Helper()
	for i := range 5 {
		c := dial()
		name := fmt.Sprint("crowd/", i)
		_, err := c.Acquire(within(s.t), name, "me", time.Minute)
		must(s.t, err)
		must(s.t, c.Release(within(s.t), name))
		must(s.t, c.Close())
	}
}

// work has clients that make requests until it is stopped: no error is accepted.
func (s *secured) work(dial func() *client.Client) (stop func() (requests int64, longest time.Duration)) {
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	var requests, longest atomic.Int64
	for i := range 4 {
		c := dial()
		workers.Go(func() {
			defer c.Close()
			name := fmt.Sprint("work/", i)
			for ctx.Err() == nil {
				for _, call := range []func(context.Context) error{
					func(ctx context.Context) error {
						info, err := c.Acquire(ctx, name, "me", time.Minute)
						if err == nil && info.Status != sema.Acquired {
							err = fmt.Errorf("it is %v", info.Status)
						}
						return err
					},
					func(ctx context.Context) error { return c.Release(ctx, name) },
				} {
					start := time.Now()
					one, done := context.WithTimeout(context.Background(), patience)
					err := call(one)
					done()
					if err != nil {
						s.t.Errorf("a request failed: %v", err)
						return
					}
					requests.Add(1)
					if took := int64(time.Since(start)); took > longest.Load() {
						longest.Store(took)
					}
				}
			}
		})
	}
	stop = func() (int64, time.Duration) {
		cancel()
		workers.Wait()
		return requests.Load(), time.Duration(longest.Load())
	}
	s.t.Cleanup(func() { stop() })
	return stop
}

// TestCommandsOverTLS asks a cluster as people do, by flags and by environment, rightly and
// wrongly.
func TestCommandsOverTLS(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	contains(t, semanode(t, append([]string{"acquire", "a"}, s.tlsFlags()...)...).ok(t), "ACQUIRED")
	env := []string{"SEMANODE_TLS_CA=" + s.path("ca.pem"), "SEMANODE_TLS_CERT=" + s.path("client.pem"), "SEMANODE_TLS_KEY=" + s.path("client-key.pem")}
	contains(t, startEnv(t, env, "status", "--endpoints", s.endpoints()).result().ok(t), "leader", "follower")

	other := t.TempDir()
	semanode(t, "cert", "ca", "--dir", other).ok(t)
	for _, tc := range []struct {
		name  string
		flags []string
		want  string
	}{
		{"plain text", nil, "does the node expect TLS? Give --tls-ca"},
		{"no certificate", []string{"--tls-ca", s.path("ca.pem")}, "a client's certificate"}, // what it says of it may be lost when it hangs up,
		{"another authority", []string{"--tls-ca", filepath.Join(other, "ca.pem")}, "of another authority than --tls-ca has"},
		{"another name", append(s.tlsFlags(), "--tls-server-name", "n1.example.com"), "give --tls-server-name node.sema"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"get", "a", "--rpc-timeout", "1s", "--endpoints", s.endpoints()}, tc.flags...)
			contains(t, semanode(t, args...).fault(t, exitFailed), tc.want)
		})
	}
	contains(t, semanode(t, append([]string{"get", "a", "--tls-server-name", "node.sema"}, s.tlsFlags()...)...).ok(t), "OWNED_BY_SOMEONE_ELSE")
}

// TestTLSToPlainText asks nodes without TLS with it.
func TestTLSToPlainText(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	semanode(t, "cert", "ca", "--dir", dir).ok(t)
	c := startNodes(t, 1)
	r := semanode(t, "get", "a", "--rpc-timeout", "1s", "--endpoints", c.endpoints(), "--tls-ca", filepath.Join(dir, "ca.pem"))
	contains(t, r.fault(t, exitFailed), "the node does not speak TLS: leave out --tls-ca")
}

// TestCert makes certificates and shows them.
func TestCert(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in := func(args ...string) []string { return append(append([]string{"cert"}, args...), "--dir", dir) }
	contains(t, semanode(t, in("node", "n1")...).fault(t, exitFailed), "semanode cert ca makes one", "ca.pem")
	contains(t, semanode(t, in("ca")...).ok(t), "ca.pem", "ca-key.pem")
	semanode(t, in("node", "n1", "--host", "10.0.0.1,n1.example.com")...).ok(t)
	semanode(t, in("client", "nightly@host")...).ok(t)
	for name, mode := range map[string]os.FileMode{"ca-key.pem": 0o600, "n1-key.pem": 0o600, "nightly@host-key.pem": 0o600, "n1.pem": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has the mode %v", name, info.Mode())
		}
	}
	show := func(name string, args ...string) string {
		return semanode(t, append([]string{"cert", "show", filepath.Join(dir, name)}, args...)...).ok(t)
	}
	contains(t, show("n1.pem"), "CN=n1", "node.sema, n1.example.com, localhost, 10.0.0.1", "server, client", "a node's:    yes")
	contains(t, show("nightly@host.pem", "-o", "json"), `"subject":"CN=nightly@host"`, `"usage":["client"]`, `"node":false`, `"fingerprint":"`)
	contains(t, show("ca.pem"), "authority")

	before := contents(t, dir)
	for _, args := range [][]string{in("ca"), in("node", "n1"), in("client", "n1")} {
		contains(t, semanode(t, args...).fault(t, exitUsage), "exists: --force replaces it")
	}
	for what, args := range map[string][]string{
		"no -key at the end": in("client", "ca-key", "--force"), // it would replace the authority's key
		"without a port":     in("node", "n2", "--host", "10.0.0.1:7373"),
		"a DNS name":         in("node", "n2", "--host", "https://n2/"),
	} {
		contains(t, semanode(t, args...).fault(t, exitUsage), what)
	}
	must(t, os.Mkdir(filepath.Join(dir, "blocked-key.pem"), 0o700)) // so the key cannot be written
	semanode(t, in("client", "blocked", "--force")...).fault(t, exitFailed)
	must(t, os.Remove(filepath.Join(dir, "blocked-key.pem")))
	unchanged(t, before, contents(t, dir))
	semanode(t, in("node", "n1", "--force")...).ok(t)
	semanode(t, in("node", "n2", "--host", "*.example.com,::1", "--validity", "10m")...).ok(t)
	contains(t, semanode(t, in("client", "long", "--validity", "200000h")...).stderr, "only, as its authority is")
	contains(t, semanode(t, "cert", "show", filepath.Join(dir, "n1-key.pem")).fault(t, exitFailed), "no certificate in PEM")
}
