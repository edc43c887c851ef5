package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema/internal/pki"
	"github.com/semanode/sema/internal/pki/pkitest"
	"github.com/semanode/sema/transport"
)

// strangers are the certificates that open no raft port, whoever shows them.
func strangers(t *testing.T, ca *pkitest.CA) map[string]struct {
	cert tls.Certificate
	why  string // as the node logs it that is connected to
} {
	return map[string]struct {
		cert tls.Certificate
		why  string
	}{
		"of another authority":      {pkitest.New(t).Cert(nil), "unknown authority"},
		"expired":                   {ca.Cert(func(r *pki.Request) { r.From, r.To = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour) }), "expired"},
		"not yet valid":             {ca.Cert(func(r *pki.Request) { r.From = time.Now().Add(time.Hour) }), "not yet valid"},
		"a client's":                {ca.Cert(pkitest.AsClient), "node.sema is not among"},
		"a client's with the name":  {ca.Cert(func(r *pki.Request) { r.Server = false }), "not for server authentication"},
		"a server's with the name":  {ca.Cert(func(r *pki.Request) { r.Client = false }), "incompatible key usage"},
		"a node's without the name": {ca.Cert(func(r *pki.Request) { r.Hosts = []string{"127.0.0.1"} }), "node.sema is not among"},
		"of a host that is alike":   {ca.Cert(func(r *pki.Request) { r.Hosts = []string{"node.sema.example.com"} }), "node.sema is not among"},
	}
}

// newTLSMux is a mux that speaks TLS, with its log.
func newTLSMux(t *testing.T, config *tls.Config) (*transport.Mux, *logged) {
	t.Helper()
	log := &logged{}
	cfg := transport.MuxConfig{Listener: listen(t), Logger: hclog.New(&hclog.LoggerOptions{Output: log})}
	if config != nil {
		cfg.TLS = func() *tls.Config { return config }
	}
	m := transport.NewMux(cfg)
	m.Found([16]byte{1})
	m.Admit("n1")
	t.Cleanup(func() { m.Close() })
	return m, log
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

// hello is an introduction to cluster 1.
var hello = append([]byte("SEMA\x02\x01\x01"), make([]byte, 16)...)

// TestRaftPortTakesNodesOnly shows every kind of wrong certificate to the raft port, in
// both directions.
func TestRaftPortTakesNodesOnly(t *testing.T) {
	ca := pkitest.New(t)
	m, log := newTLSMux(t, ca.Config(nil))
	t.Run("a node", func(t *testing.T) {
		other, _ := newTLSMux(t, ca.Config(nil))
		if err := meet(other, m); err != nil {
			t.Fatal(err)
		}
	})
	knock := func(t *testing.T, change func(*tls.Config)) error {
		c := ca.Config(nil)
		c.ServerName, c.NextProtos = transport.NodeName, []string{"sema-node"}
		change(c)
		conn, err := tls.Dial("tcp", m.Addr().String(), c)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(hello); err != nil {
			return err
		}
		_, err = io.ReadFull(conn, make([]byte, 1))
		return err
	}
	if err := knock(t, func(*tls.Config) {}); err != nil {
		t.Fatalf("who does as nodes do is not let in, so what follows shows nothing: %v", err)
	}
	refused := func(name, why string, change func(*tls.Config)) {
		t.Run(name, func(t *testing.T) {
			if err := knock(t, change); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("it was let in, or left waiting: %v", err)
			}
			await(t, "the log says "+why, func() bool { return strings.Contains(log.String(), why) })
			log.clear()
		})
	}
	for name, s := range strangers(t, ca) {
		refused(name, s.why, func(c *tls.Config) { c.Certificates = []tls.Certificate{s.cert} })
		t.Run("to a node that is "+name, func(t *testing.T) { refuses(t, ca, s.cert) })
	}
	refused("nothing to show", "didn't provide a certificate", func(c *tls.Config) { c.Certificates = nil })
	refused("an older TLS", "unsupported versions", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })
	refused("another protocol", "unsupported application protocols", func(c *tls.Config) { c.NextProtos = []string{"h2"} })
	refused("no protocol", "does not speak the protocol of nodes", func(c *tls.Config) { c.NextProtos = nil })
}

// meet connects one mux to the other and back, so that both directions are tried.
func meet(a, b *transport.Mux) error {
	for _, pair := range [][2]*transport.Mux{{a, b}, {b, a}} {
		conn, err := pair[0].Dial(context.Background(), transport.RaftStream, pair[1].Addr().String(), "")
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}

// refuses checks that a node does not speak to a server with this certificate.
func refuses(t *testing.T, ca *pkitest.CA, cert tls.Certificate) {
	lis := tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"sema-node"}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.ReadFull(conn, make([]byte, len(hello))); err == nil {
				_, _ = conn.Write([]byte{1}) // welcome
			}
			_ = conn.Close()
		}
	}()
	defer func() { lis.Close(); <-done }()
	m, _ := newTLSMux(t, ca.Config(nil))
	conn, err := m.Dial(context.Background(), transport.RaftStream, lis.Addr().String(), "")
	if err == nil {
		conn.Close()
		t.Fatal("the node takes it for a node")
	}
	t.Log(err)
}

// TestOneSideSpeaksTLS lets a node with TLS and one without meet: both say why that fails.
func TestOneSideSpeaksTLS(t *testing.T) {
	ca := pkitest.New(t)
	secure, secureLog := newTLSMux(t, ca.Config(nil))
	plain, plainLog := newTLSMux(t, nil)
	for _, tc := range []struct {
		name     string
		from, to *transport.Mux
		err      string
		log      *logged // of the one that is asked
	}{
		{"plain text to TLS", plain, secure, "one of the two nodes speaks TLS", secureLog},
		{"TLS to plain text", secure, plain, "does it speak TLS?", plainLog},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.from.Dial(context.Background(), transport.RaftStream, tc.to.Addr().String(), "")
			if err == nil || !strings.Contains(err.Error(), tc.err) && !strings.Contains(err.Error(), "reset") {
				t.Errorf("who dials learns %v", err)
			}
			await(t, "who is asked says it", func() bool { return strings.Contains(tc.log.String(), "one of the two nodes speaks TLS") })
		})
	}
}

// TestRenewedPeerTLS replaces certificate and authority while the mux runs.
func TestRenewedPeerTLS(t *testing.T) {
	before, after := pkitest.New(t), pkitest.New(t)
	var mu sync.Mutex
	current := before.Config(nil)
	m := transport.NewMux(transport.MuxConfig{Listener: listen(t), TLS: func() *tls.Config {
		mu.Lock()
		defer mu.Unlock()
		return current
	}})
	m.Found([16]byte{1})
	m.Admit("n1")
	defer m.Close()
	old, _ := newTLSMux(t, before.Config(nil))
	renewed, _ := newTLSMux(t, after.Config(nil))
	if err := meet(m, old); err != nil {
		t.Fatal(err)
	}
	if err := meet(m, renewed); err == nil {
		t.Fatal("another authority is believed")
	}
	mu.Lock()
	current = after.Config(nil)
	mu.Unlock()
	if err := meet(m, renewed); err != nil {
		t.Fatal(err)
	}
	if err := meet(m, old); err == nil {
		t.Fatal("the authority from before is believed")
	}
}

// logged is a log that can be read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
}
