package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// dialStranger speaks HTTP/2 to the port of clients, with neither certificate nor token.
func dialStranger(t *testing.T, g *guarded) (net.Conn, *http2.Framer) {
	t.Helper()
	conn, err := tls.Dial("tcp", g.addr, &tls.Config{RootCAs: g.ca.pool(), NextProtos: []string{"h2"}, ServerName: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f := http2.NewFramer(conn, conn)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return conn, f
}

// TestStrangersFillNoMemory begins hundreds of calls with messages of a MiB that lack a
// byte: gRPC would keep them all, before anybody is asked who it is.
func TestStrangersFillNoMemory(t *testing.T) {
	log := new(logged)
	g := guard(t, true, func(c *transport.ServerConfig) {
		c.MaxConns, c.Logger = 100, hclog.New(&hclog.LoggerOptions{Output: log})
	})
	conn, f := dialStranger(t, g)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
	}()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	before := heap()
	var headers bytes.Buffer
	encode := hpack.NewEncoder(&headers)
	for id := uint32(1); id < 1024; id += 2 {
		headers.Reset()
		for _, h := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", semav1.Sema_Get_FullMethodName}, {":authority", "node"},
			{"content-type", "application/grpc"}, {"te", "trailers"}} {
			_ = encode.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}) // to memory
		}
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headers.Bytes(), EndHeaders: true})
		data := make([]byte, 16<<10)
		binary.BigEndian.PutUint32(data[1:], 1<<20)
		for n := 0; n < 64 && err == nil; n++ {
			err = f.WriteData(id, false, data)
			data = make([]byte, 16<<10)
		}
		if err != nil {
			break // hung up on
		}
	}
	<-gone
	if after := heap(); after > before+32<<20 {
		t.Errorf("the heap has grown from %d to %d MiB", before>>20, after>>20)
	}
	await(t, "the log tells why", func() bool { return strings.Contains(log.String(), "too many messages") })
}

// TestPlacesAreForThoseWhoCall: neither connections that say nothing nor those without an
// identity keep out somebody who has one.
func TestPlacesAreForThoseWhoCall(t *testing.T) {
	for name, come := range map[string]func(*testing.T, *guarded){
		"silent": func(t *testing.T, g *guarded) { dialSilently(t, g.addr) },
		"nameless": func(t *testing.T, g *guarded) {
			conn := g.as("", nil)
			conn.Connect()
			for s := conn.GetState(); s != connectivity.Ready; s = conn.GetState() {
				if !conn.WaitForStateChange(within(t, 10*time.Second), s) {
					t.Fatal("not let in")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := guard(t, true, func(c *transport.ServerConfig) { c.MaxConns = 10 })
			mine := g.client(shipping)
			get := func(c semav1.SemaClient) error {
				_, err := c.Get(within(t, 20*time.Second), &semav1.GetRequest{Name: "shipping/a"}, grpc.WaitForReady(true))
				return justNotFound(err)
			}
			if err := get(mine); err != nil {
				t.Fatal(err)
			}
			for range 30 {
				come(t, g)
			}
			if err := get(g.client(shipping)); err != nil {
				t.Errorf("a new client: %v", err)
			}
			if err := get(mine); err != nil {
				t.Errorf("one that was there: %v", err)
			}
		})
	}
}

// TestStopDoesNotWaitForStrangers: the time that a stop is given counts.
func TestStopDoesNotWaitForStrangers(t *testing.T) {
	g := guard(t, true, func(c *transport.ServerConfig) { c.MaxConns = 10 })
	dialSilently(t, g.addr)
	if err := justNotFound(func() error {
		_, err := g.client(shipping).Get(within(t, 20*time.Second), &semav1.GetRequest{Name: "shipping/a"})
		return err
	}()); err != nil { // so the one before has been accepted
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	start := time.Now()
	g.server.Stop(ctx)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
