package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/internal/pki/pkitest"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// await waits until a condition holds, and fails the test with its name if it does not.
func await(t testing.TB, condition string, holds func() bool) {
	t.Helper()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-late.C:
			t.Fatalf("not within 30s: %s", condition)
		case <-again.C:
		}
	}
}

// port is one of a node's ports with somebody who uses it as intended.
type port struct {
	name string
	addr string
	log  *logged
	use  func(ctx context.Context) error // connects anew and has an answer
}

// ports are the raft port and the port for clients, each with TLS.
func ports(t *testing.T) []port {
	ca := pkitest.New(t)
	m, raftLog := newTLSMux(t, ca.Config(nil))
	done := make(chan struct{})
	lis := m.Listener(transport.RaftStream)
	go func() { // raft, which takes whom it is given
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = lis.Close(); <-done })
	node, _ := newTLSMux(t, ca.Config(nil))
	s := serveTLS(t, ca, 10_000)
	return []port{
		{"raft port", m.Addr().String(), raftLog, func(ctx context.Context) error {
			conn, err := node.Dial(ctx, transport.RaftStream, m.Addr().String(), "")
			if err != nil {
				return err
			}
			return conn.Close()
		}},
		{"client port", s.addr, s.log, func(ctx context.Context) error {
			conn, client := s.dial(t, ca)
			defer conn.Close()
			_, err := client.Get(ctx, &semav1.GetRequest{Name: "a"}, grpc.WaitForReady(true))
			return justNotFound(err)
		}},
	}
}

func justNotFound(err error) error {
	if err != nil && strings.Contains(err.Error(), "not found") {
		return nil
	}
	return fmt.Errorf("want not found, got %v", err)
}

// tlsServer is a server for clients over TLS that wants certificates of them.
type tlsServer struct {
	addr string
	log  *logged
}

func serveTLS(t testing.TB, ca *pkitest.CA, maxConns int) *tlsServer {
	t.Helper()
	lis := listen(t)
	s := &tlsServer{addr: lis.Addr().String(), log: &logged{}}
	config := ca.Config(nil)
	config.ClientCAs, config.ClientAuth = config.RootCAs, tls.RequireAndVerifyClientCert
	server := transport.NewServer(transport.ServerConfig{NodeID: "n1", Backend: new(fakenode.Node), TLS: config, MaxConns: maxConns,
		Logger: hclog.New(&hclog.LoggerOptions{Output: s.log})})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(lis)
	}()
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		server.Stop(now)
		<-done
	})
	return s
}

func (s *tlsServer) dial(t testing.TB, ca *pkitest.CA) (*grpc.ClientConn, semav1.SemaClient) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(credentials.NewTLS(ca.Config(pkitest.AsClient))),
		grpc.WithConnectParams(transport.ReconnectParams))
	if err != nil {
		t.Fatal(err)
	}
	return conn, semav1.NewSemaClient(conn)
}

// TestNonsenseIsTurnedAway sends to each port what does not belong there: it is hung up on
// without an answer, and whoever comes next is served.
func TestNonsenseIsTurnedAway(t *testing.T) {
	for _, p := range ports(t) {
		for name, bytes := range map[string][]byte{
			"http":                    []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
			"http/2 in plain text":    []byte(http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
			"a node in plain text":    hello,
			"nothing":                 {},
			"half a record":           []byte("\x16\x03\x01\x02"),
			"an oversized record":     append([]byte("\x16\x03\x01\xff\xff"), make([]byte, 0xffff)...),
			"an oversized handshake":  append([]byte("\x16\x03\x01\x40\x00\x01\xff\xff\xff"), make([]byte, 0x4000-4)...),
			"endless small records":   bytes.Repeat([]byte("\x16\x03\x01\x00\x01\x01"), 100_000),
			"a truncated ClientHello": []byte("\x16\x03\x01\x00\x05\x01\x00\x01\xfc\x03"),
			"zeros":                   make([]byte, 1<<20),
		} {
			t.Run(p.name+"/"+name, func(t *testing.T) {
				conn, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				_, _ = conn.Write(bytes) // it may be hung up on before it has said all
				_ = conn.(*net.TCPConn).CloseWrite()
				got, err := io.ReadAll(conn)
				if errors.Is(err, os.ErrDeadlineExceeded) || len(got) > 16 {
					t.Errorf("it was answered %q, %v", got, err)
				}
				if err := p.use(within(t, 20*time.Second)); err != nil {
					t.Errorf("whoever comes next: %v", err)
				}
			})
		}
	}
}

// TestWhoIsRefusedIsTold: the connection stays open until a client that was refused has
// read why. With TLS 1.3 it is sending already when it is.
func TestWhoIsRefusedIsTold(t *testing.T) {
	transport.SetLinger(t, 20*time.Second)
	s := serveTLS(t, pkitest.New(t), 10)
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	config := pkitest.New(t).Config(pkitest.AsClient)
	config.InsecureSkipVerify, config.NextProtos = true, []string{"h2"}
	conn := tls.Client(raw, config)
	if err := conn.Handshake(); err != nil {
		t.Fatalf("TLS 1.3: the client should think that it is in: %v", err)
	}
	await(t, "the server has refused", func() bool { return strings.Contains(s.log.String(), "turned away") })
	for range 50 {
		if _, err := raw.Write([]byte("what a client says first")); err != nil {
			t.Fatalf("it is reset before it has read why: %v", err)
		}
	}
	_ = raw.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("it reads %v, want why it was refused", err)
	}
}

// TestWhoIsRefusedIsHungUpOn: a client that was refused, and neither hangs up nor ends what
// it says, has the connection for a moment and some bytes only.
func TestWhoIsRefusedIsHungUpOn(t *testing.T) {
	for _, tc := range []struct {
		name   string
		linger time.Duration
		talks  bool
	}{{"it says nothing", 50 * time.Millisecond, false}, {"it talks on", time.Minute, true}} {
		t.Run(tc.name, func(t *testing.T) {
			transport.SetLinger(t, tc.linger)
			s := serveTLS(t, pkitest.New(t), 10)
			raw, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			config := pkitest.New(t).Config(pkitest.AsClient)
			config.InsecureSkipVerify, config.NextProtos = true, []string{"h2"}
			if err := tls.Client(raw, config).Handshake(); err != nil {
				t.Fatal(err)
			}
			if err := raw.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if tc.talks {
				for err == nil {
					_, err = raw.Write(make([]byte, 32<<10))
				}
			} else {
				_, err = io.Copy(io.Discard, raw)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("nobody has hung up")
			}
		})
	}
}

// TestSlowLoris sends the beginning of a handshake a byte at a time: it is hung up on in
// time, and others are served meanwhile.
func TestSlowLoris(t *testing.T) {
	for _, p := range ports(t) {
		for name, say := range map[string][]byte{"TLS": append([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), make([]byte, 501)...)} {
			t.Run(p.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				conn, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				start, hungUp := time.Now(), make(chan struct{})
				go func() {
					defer close(hungUp)
					_, _ = conn.Read(make([]byte, 1))
				}()
				now := time.NewTicker(200 * time.Millisecond)
				defer now.Stop()
				for _, b := range say {
					select {
					case <-hungUp:
						t.Logf("hung up on after %v", time.Since(start))
						return
					case <-now.C:
						_, _ = conn.Write([]byte{b})
					}
					if time.Since(start) > 20*time.Second {
						t.Fatal("it is listened to for ever")
					}
					if err := p.use(within(t, 20*time.Second)); err != nil {
						t.Fatalf("another one: %v", err)
					}
				}
			})
		}
	}
}

// TestHalfOpenConnections opens far more connections than there is room for strangers, all
// of which say nothing, while somebody connects as intended.
func TestHalfOpenConnections(t *testing.T) {
	for _, p := range ports(t) {
		t.Run(p.name, func(t *testing.T) {
			const many = 10_000
			var open []net.Conn
			defer func() {
				for _, conn := range open {
					conn.Close()
				}
			}()
			var longest time.Duration
			served := 0
			for i := range many {
				conn, err := net.DialTimeout("tcp", p.addr, 10*time.Second)
				if err != nil {
					t.Logf("this machine opens no more than %d connections: %v", i, err)
					if i < 1000 {
						t.Fatal("too few to show anything")
					}
					break
				}
				open = append(open, conn)
				if i%200 == 0 {
					start := time.Now()
					if err := p.use(within(t, 20*time.Second)); err != nil {
						t.Fatalf("beside %d half open connections: %v", i, err)
					}
					longest = max(longest, time.Since(start))
					served++
				}
			}
			t.Logf("beside up to %d half open connections %d were served; the longest, with its handshake, took %v", len(open), served, longest)
		})
	}
}

func percentile(all []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)-1)*p/100]
}
