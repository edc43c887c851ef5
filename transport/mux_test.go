package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/transport"
)

func newMux(t *testing.T, cluster byte) *transport.Mux {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := transport.NewMux(transport.MuxConfig{Listener: lis})
	m.Found([16]byte{cluster})
	m.Admit("n1")
	t.Cleanup(func() { m.Close() })
	return m
}

func TestMuxKeepsKindsApart(t *testing.T) {
	a, b := newMux(t, 1), newMux(t, 1)
	for _, kind := range []transport.StreamKind{transport.RaftStream, transport.GRPCStream, transport.GuestStream} {
		lis := b.Listener(kind)
		go func() {
			conn, err := lis.Accept()
			if err == nil {
				_, _ = conn.Write([]byte{byte(kind)})
				_ = conn.Close()
			}
		}()
		conn, err := a.Dial(context.Background(), kind, b.Addr().String(), "")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || len(got) != 1 || got[0] != byte(kind) {
			t.Fatalf("stream %d reached %v, %v", kind, got, err)
		}
		conn.Close()
	}
}

func TestMuxTurnsStrangersAway(t *testing.T) {
	m := newMux(t, 1)
	t.Run("another cluster, who is told", func(t *testing.T) {
		_, err := newMux(t, 2).Dial(context.Background(), transport.RaftStream, m.Addr().String(), "")
		if err == nil || !strings.Contains(err.Error(), "belongs to another cluster") {
			t.Fatal(err)
		}
	})
	t.Run("another kind", func(t *testing.T) {
		_, err := newMux(t, 1).Dial(context.Background(), 99, m.Addr().String(), "")
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Fatal(err)
		}
	})
	for name, hello := range map[string]string{
		"http": "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"tls":  "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 32),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", m.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte(hello)); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			// Closed with bytes unread, the connection may also be reset.
			if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("a stranger was answered: %d bytes, %v", n, err)
			}
		})
	}
}

func TestMuxCloseBreaksConnections(t *testing.T) {
	a, b := newMux(t, 1), newMux(t, 1)
	accepted := make(chan net.Conn, 1)
	lis := b.Listener(transport.RaftStream)
	go func() {
		if conn, err := lis.Accept(); err == nil {
			accepted <- conn
		}
	}()
	conn, err := a.Dial(context.Background(), transport.RaftStream, b.Addr().String(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	<-accepted
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection outlives its mux: %v", err)
	}
	if _, err := a.Dial(context.Background(), transport.RaftStream, b.Addr().String(), "n1"); err == nil {
		t.Fatal("a closed mux was reached")
	}
	if err := b.Close(); err != nil {
		t.Fatalf("closing twice: %v", err)
	}
}

// TestMuxEndsConnectionsThatAreBeingMade closes a Mux while it dials a node that does
// not answer: who dials learns of it at once.
func TestMuxEndsConnectionsThatAreBeingMade(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialling := make(chan struct{})
	m := transport.NewMux(transport.MuxConfig{Listener: lis, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		close(dialling)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	m.Admit("n1")
	ended := make(chan error, 1)
	go func() {
		_, err := m.Dial(context.Background(), transport.RaftStream, "n2:7373", "n2")
		ended <- err
	}()
	<-dialling
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Fatal("a connection was made to nobody")
	}
}

// TestMuxKnowsWhoseItIs is about nodes that are not members yet, and about addresses
// that have changed hands.
func TestMuxKnowsWhoseItIs(t *testing.T) {
	const known, admitted = 1, 2 // how far the node has come
	for _, c := range []struct {
		name     string
		progress int
		kind     transport.StreamKind
		member   string
		want     string // in the error; "": none
	}{
		{"a guest, of a node that knows nothing", 0, transport.GuestStream, "", ""},
		{"a node, of a node that knows nothing", 0, transport.GRPCStream, "", "no member"},
		{"raft, of a node that knows nothing", 0, transport.RaftStream, "n1", "no member"},
		{"a guest, before it is a member", known, transport.GuestStream, "", ""},
		{"a node, before it is a member", known, transport.GRPCStream, "", ""},
		{"raft, before it is a member", known, transport.RaftStream, "n1", "no member"},
		{"raft", admitted, transport.RaftStream, "n1", ""},
		{"raft, for the member it was with another disk", admitted, transport.RaftStream, "n1@00", "another node"},
		{"raft, for another member", admitted, transport.RaftStream, "n2", "another node"},
		{"raft, for a name that is no member's", admitted, transport.RaftStream, strings.Repeat("n", 129), "too long"},
		{"a node, for whoever it is", admitted, transport.GRPCStream, "", ""},
		{"a node, for another member", admitted, transport.GRPCStream, "n2", "another node"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			m := transport.NewMux(transport.MuxConfig{Listener: lis})
			defer m.Close()
			if c.progress >= known {
				m.Found([16]byte{1})
			}
			if c.progress >= admitted {
				m.Admit("n1")
			}
			streams := m.Listener(c.kind)
			go streams.Accept() // until m is closed
			conn, err := newMux(t, 1).Dial(context.Background(), c.kind, m.Addr().String(), c.member)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Run("a node that is no member dials no member", func(t *testing.T) {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m := transport.NewMux(transport.MuxConfig{Listener: lis})
		defer m.Close()
		m.Found([16]byte{1})
		if _, err := m.Dial(context.Background(), transport.RaftStream, newMux(t, 1).Addr().String(), "n1"); err == nil || !strings.Contains(err.Error(), "no member") {
			t.Errorf("got %v", err)
		}
	})
}

// TestNobodyTakesAStream: one of a kind that nobody accepts yet gives its place back.
func TestNobodyTakesAStream(t *testing.T) {
	t.Parallel()
	a, b := newMux(t, 1), newMux(t, 1)
	conn, err := a.Dial(context.Background(), transport.GuestStream, b.Addr().String(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("it is not hung up on: %v", err)
	}
}
