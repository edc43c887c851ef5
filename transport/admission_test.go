package transport_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/semanode/sema/internal/pki"
	"github.com/semanode/sema/internal/pki/pkitest"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// TestTooManyConnections fills a server to its limit: one more is turned away, and comes in
// when another has left.
func TestTooManyConnections(t *testing.T) {
	ca := pkitest.New(t)
	s := serveTLS(t, ca, 2)
	first, client := s.dial(t, ca)
	defer first.Close()
	ask := func(c semav1.SemaClient) error {
		_, err := c.Get(within(t, 20*time.Second), &semav1.GetRequest{Name: "a"}, grpc.WaitForReady(true))
		return justNotFound(err)
	}
	if err := ask(client); err != nil {
		t.Fatal(err)
	}
	second, client := s.dial(t, ca)
	if err := ask(client); err != nil {
		t.Fatal(err)
	}
	third, client := s.dial(t, ca)
	defer third.Close()
	third.Connect()
	await(t, "the log says that a client was turned away", func() bool { return strings.Contains(s.log.String(), "too many connections") })
	if third.GetState() == connectivity.Ready {
		t.Error("a third one is served")
	}
	second.Close()
	if err := ask(client); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}

// TestStrangersDoNotPushOutClients lets more connections come than there is room for
// strangers: those that have introduced themselves stay.
func TestStrangersDoNotPushOutClients(t *testing.T) {
	ca := pkitest.New(t)
	s := serveTLS(t, ca, 10_000)
	conn, client := s.dial(t, ca)
	defer conn.Close()
	get := func() error {
		_, err := client.Get(within(t, 20*time.Second), &semav1.GetRequest{Name: "a"}, grpc.WaitForReady(true))
		return justNotFound(err)
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	lost := make(chan bool, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { lost <- conn.WaitForStateChange(ctx, connectivity.Ready) }()
	first := dialSilently(t, s.addr)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, first)
	}()
	start := time.Now()
	for range transport.MaxStrangers {
		dialSilently(t, s.addr)
	}
	<-gone
	if took := time.Since(start); took > 9*time.Second {
		t.Errorf("the first stranger went by its timeout, after %v, and not to make room", took)
	}
	if err := get(); err != nil {
		t.Error(err)
	}
	cancel()
	if <-lost {
		t.Error("the client lost its connection")
	}
}

func dialSilently(t *testing.T, addr string) io.ReadWriteCloser {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestTurnedAwayClientsAreLogged: gRPC says nothing about them.
func TestTurnedAwayClientsAreLogged(t *testing.T) {
	ca := pkitest.New(t)
	for name, s := range map[string]struct {
		config *tls.Config
		why    string
	}{
		"of another authority": {pkitest.New(t).Config(pkitest.AsClient), "unknown authority"},
		"without certificate":  {&tls.Config{}, "didn't provide a certificate"},
		"expired": {ca.Config(func(r *pki.Request) {
			pkitest.AsClient(r)
			r.From, r.To = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}), "expired"},
		"not yet valid": {ca.Config(func(r *pki.Request) {
			pkitest.AsClient(r)
			r.From = time.Now().Add(time.Hour)
		}), "not yet valid"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serveTLS(t, ca, 100)
			s.config.RootCAs, s.config.NextProtos, s.config.ServerName = ca.Pool(), []string{"h2"}, "127.0.0.1"
			conn, err := tls.Dial("tcp", server.addr, s.config)
			if err == nil { // the server's verdict comes after the client's handshake
				_, err = io.ReadAll(conn)
				conn.Close()
			}
			if err == nil {
				t.Error("it was let in")
			}
			await(t, "the log says "+s.why, func() bool { return strings.Contains(server.log.String(), s.why) })
		})
	}
}

// TestAFloodDoesNotFillTheLog turns thousands away: a few lines say so, and how many more
// there were.
func TestAFloodDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logged{}
		tell := transport.TellRefusals(hclog.New(&hclog.LoggerOptions{Output: log}))
		for range 10_000 {
			tell("turned away")
		}
		if lines := strings.Count(log.String(), "\n"); lines != 20 {
			t.Errorf("%d lines", lines)
		}
		log.clear()
		time.Sleep(10 * time.Second) // of virtual time
		tell("turned away")
		if !strings.Contains(log.String(), "9980") {
			t.Errorf("want 9980 in %s", log.String())
		}
	})
}
