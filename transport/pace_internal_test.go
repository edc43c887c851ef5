package transport

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// frames is what a client sends: n calls, of which every reset-th is given up (0: none).
func frames(t testing.TB, n, reset int) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(f.WriteSettings())
	for i := range n {
		id := uint32(2*i + 1)
		check(f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: make([]byte, i%50), EndHeaders: true}))
		check(f.WriteData(id, true, bytes.Repeat([]byte{byte(http2.FrameRSTStream)}, i%300)))
		if reset > 0 && i%reset == 0 {
			check(f.WriteRSTStream(id, http2.ErrCodeCancel))
		}
	}
	return b.Bytes()
}

// TestFramesAreCounted, wherever what comes is cut.
func TestFramesAreCounted(t *testing.T) {
	t.Parallel()
	for range 100 {
		var f frameScanner
		rest := frames(t, 100, 4)
		var opened, useless int
		for len(rest) > 0 {
			n := min(1+rand.IntN(40), len(rest))
			o, u := f.scan(rest[:n])
			opened, useless, rest = opened+o, useless+u, rest[n:]
		}
		if opened != 100 || useless != 25+1 {
			t.Fatalf("%d calls and %d useless frames, want 100 and 26", opened, useless)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frames(f, 3, 1), 7)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		cut = max(0, min(cut, len(b)))
		var whole, parts frameScanner
		opened, useless := whole.scan(b)
		o1, u1 := parts.scan(b[:cut])
		o2, u2 := parts.scan(b[cut:])
		if o1+o2 != opened || u1+u2 != useless || 9*(opened+useless) > len(b) {
			t.Fatalf("%d and %d, in two parts %d and %d", opened, useless, o1+o2, u1+u2)
		}
	})
}

// supply is a connection that brings bytes, some kilobytes at a time.
type supply struct {
	net.Conn
	r *bytes.Reader
}

func (s supply) Read(b []byte) (int, error) { return s.r.Read(b[:min(len(b), 4096)]) }
func (s supply) Close() error               { return nil }

// TestPace: how long a connection takes to be read.
func TestPace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		calls    int
		reset    int
		min, max time.Duration
	}{
		{"calls that are answered", 100_000, 0, 0, 0},
		{"every second is given up", 100_000, 2, 0, 0},
		{"some at first", 100, 1, 0, 0},
		{"all are given up", 10_000, 1, 4800 * time.Millisecond, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := newPacedConn(supply{r: bytes.NewReader(frames(t, c.calls, c.reset))})
			start := time.Now()
			if _, err := io.Copy(io.Discard, struct{ io.Reader }{conn}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took < c.min || took > c.max {
				t.Errorf("%s: took %v, want %v to %v", c.name, took, c.min, c.max)
			}
		})
	}
}

// TestHeldRefusals: too many of them, and nothing more is read, until one is told or the
// connection is closed.
func TestHeldRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := newPacedConn(supply{r: bytes.NewReader(make([]byte, 1<<20))})
		read := make(chan time.Duration, 1)
		start := time.Now()
		try := func() {
			_, _ = conn.Read(make([]byte, 1)) // there is something
			read <- time.Since(start)
		}
		for i := range maxHeld {
			go conn.hold(context.Background(), time.Duration(i+1)*time.Second)
		}
		synctest.Wait()
		go try()
		if at := <-read; at != time.Second {
			t.Errorf("read after %v, want 1s, when the first was told", at)
		}
		go conn.hold(context.Background(), time.Hour)
		synctest.Wait()
		go try()
		synctest.Wait()
		conn.Close()
		if at := <-read; at != time.Second {
			t.Errorf("returned after %v, want at once, as it is closed", at)
		}
		conn.held = 0
	})
}
