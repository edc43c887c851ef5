package transport_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"

	"github.com/semanode/sema/internal/pki/pkitest"
	"github.com/semanode/sema/transport/semav1"
)

// TestRapidReset opens calls and resets them at once, as fast as they go, while another
// client makes calls. Who resets is another process: in this one its goroutines would be in
// the way of those that are measured, which no client of a node is.
func TestRapidReset(t *testing.T) {
	ca := pkitest.New(t)
	s := serveTLS(t, ca, 10_000)
	conn, client := s.dial(t, ca)
	defer conn.Close()
	latency := func(d time.Duration) (p50, p99 time.Duration) {
		var all []time.Duration
		for end := time.Now().Add(d); time.Now().Before(end); {
			start := time.Now()
			_, err := client.Get(within(t, 30*time.Second), &semav1.GetRequest{Name: "a"}, grpc.WaitForReady(true))
			if err := justNotFound(err); err != nil {
				t.Fatal(err)
			}
			all = append(all, time.Since(start))
		}
		return percentile(all, 50), percentile(all, 99)
	}
	latency(100 * time.Millisecond) // warm
	quiet50, quiet99 := latency(time.Second)
	t.Logf("quiet: p50 %v, p99 %v", quiet50, quiet99)
	for _, connections := range []int{1, 4} {
		start := time.Now()
		end := attack(t, ca, s.addr, connections)
		p50, p99 := latency(3 * time.Second)
		total, took := end(), time.Since(start).Seconds()
		t.Logf("beside %d resets (%.0f/s) on %d connections: p50 %v, p99 %v", total, float64(total)/took, connections, p50, p99)
		if total < 1000 {
			t.Errorf("only %d calls were reset: this shows nothing", total)
		}
		// What was sent and not read is in buffers of the kernel, some 40,000 on each.
		if most := connections * (80_000 + int(4000*took)); total > most {
			t.Errorf("%d calls were opened and reset, want %d at the most: a client that only costs is to wait", total, most)
		}
		if most := max(20*quiet99, 100*time.Millisecond); p99 > most {
			t.Errorf("another client's p99 is %v, want %v at the most: it was %v", p99, most, quiet99)
		}
	}
}

// attackDir is set in the environment of a process that is to attack: what it needs is in
// that directory.
const attackDir = "SEMA_TEST_ATTACK"

// attack starts a process that resets calls on as many connections until end is called,
// which returns how many calls it has reset.
func attack(t *testing.T, ca *pkitest.CA, addr string, connections int) (end func() (resets int)) {
	t.Helper()
	dir, pair := t.TempDir(), ca.Issue(pkitest.AsClient)
	for name, data := range map[string][]byte{"ca": ca.PEM, "cert": pair.Cert, "key": pair.Key, "addr": []byte(addr), "connections": []byte(strconv.Itoa(connections))} {
		pkitest.Write(t, filepath.Join(dir, name), data)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), attackDir+"="+dir)
	cmd.Stderr = os.Stderr
	var out bytes.Buffer
	cmd.Stdout = &out
	alive, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceValue(func() error {
		_ = alive.Close() // by which it is told
		return cmd.Wait()
	})
	t.Cleanup(func() { _ = stop() })
	return func() int {
		t.Helper()
		if err := stop(); err != nil {
			t.Fatalf("the attacker: %v", err)
		}
		resets, err := strconv.Atoi(strings.TrimSpace(out.String()))
		if err != nil {
			t.Fatalf("the attacker: %v", err)
		}
		return resets
	}
}

// attacker is that process. It ends when its standard input does.
func attacker(dir string) (code int) {
	if err := resetAll(dir, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		return 1
	}
	return 0
}

func resetAll(dir string, until io.Reader, out io.Writer) error {
	of := func(name string) string { return filepath.Join(dir, name) }
	cert, err := tls.LoadX509KeyPair(of("cert"), of("key"))
	if err != nil {
		return err
	}
	var texts [3][]byte
	for i, name := range []string{"ca", "addr", "connections"} {
		if texts[i], err = os.ReadFile(of(name)); err != nil {
			return err
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(texts[0])
	connections, err := strconv.Atoi(string(texts[2]))
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	ctx, stop := context.WithCancel(context.Background())
	var attackers sync.WaitGroup
	resets := make([]int, connections)
	for i := range resets {
		attackers.Go(func() { resets[i] = resetRapidly(ctx, string(texts[1]), config) })
	}
	_, _ = io.Copy(io.Discard, until)
	stop()
	attackers.Wait()
	total := 0
	for _, n := range resets {
		total += n
	}
	_, err = fmt.Fprintln(out, total)
	return err
}

// resetRapidly returns how many calls it reset until ctx ended. It connects again as often
// as it is hung up on.
func resetRapidly(ctx context.Context, addr string, config *tls.Config) (resets int) {
	for ctx.Err() == nil {
		conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", addr)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		done := make(chan struct{})
		go func() { // what it is told, it does not care for
			defer close(done)
			_, _ = io.Copy(io.Discard, conn)
		}()
		resets += resetOn(conn)
		stop()
		conn.Close()
		<-done
	}
	return resets
}

// resetOn opens calls and resets them until the connection ends. All but the first are the
// same but for their number: an attacker has better things to do than to encode headers.
func resetOn(conn net.Conn) (resets int) {
	var headers, call bytes.Buffer
	encode, framer := hpack.NewEncoder(&headers), http2.NewFramer(&call, nil)
	write := func() {
		headers.Reset()
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", semav1.Sema_Get_FullMethodName}, {":authority", "node"},
			{"content-type", "application/grpc"}, {"te", "trailers"}} {
			_ = encode.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // to memory
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true})
		_ = framer.WriteRSTStream(1, http2.ErrCodeCancel)
	}
	call.WriteString(http2.ClientPreface)
	_ = framer.WriteSettings()
	write()
	if _, err := conn.Write(call.Bytes()); err != nil {
		return 0
	}
	call.Reset()
	write()
	const frameHeader, idAt, rst = 9, 5, 4 // bytes of a frame's header, where in it the stream's number is, and of a reset
	frames := call.Bytes()
	reset := frames[len(frames)-frameHeader-rst:]
	for id := uint32(3); id < 1<<31; id += 2 {
		binary.BigEndian.PutUint32(frames[idAt:], id)
		binary.BigEndian.PutUint32(reset[idAt:], id)
		resets++
		if _, err := conn.Write(frames); err != nil {
			break
		}
	}
	return resets
}
