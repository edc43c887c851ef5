package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
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

// TestUnfinishedMessages: what of messages has come and not ended, wherever it is cut.
func TestUnfinishedMessages(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	w := http2.NewFramer(&b, nil)
	message := func(n int) []byte {
		return append([]byte{0, 0, byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n)...)
	}
	for _, step := range []struct {
		about string
		do    func() error
		want  int // pending afterwards
	}{
		{"a whole message", func() error { return w.WriteData(1, false, message(100)) }, 0},
		{"two and an empty one", func() error { return w.WriteData(1, false, slices.Concat(message(7), message(0), message(9))) }, 0},
		{"half a prefix", func() error { return w.WriteData(1, false, message(300)[:3]) }, 3},
		{"more of it", func() error { return w.WriteData(1, false, message(300)[3:105]) }, 105},
		{"the beginning of another stream's", func() error { return w.WriteDataPadded(3, false, message(70_000)[:9000], make([]byte, 200)) }, 9105},
		{"other frames", func() error {
			return errors.Join(w.WriteSettingsAck(), w.WritePing(false, [8]byte{}), w.WriteRSTStream(5, http2.ErrCodeCancel))
		}, 9105},
		{"an empty frame", func() error { return w.WriteData(3, false, nil) }, 9105},
		{"the rest of the first, and a new one", func() error { return w.WriteData(1, false, append(message(300)[105:], message(50)[:20]...)) }, 9020},
		{"a reset", func() error { return w.WriteRSTStream(3, http2.ErrCodeCancel) }, 20},
		{"the end of the stream", func() error { return w.WriteData(1, true, message(50)[20:30]) }, 0},
		{"one more with padding", func() error { return w.WriteDataPadded(7, true, message(5), make([]byte, 255)) }, 0},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			var f frameScanner
			for rest := b.Bytes(); len(rest) > 0; {
				n := min(1+rand.IntN(50), len(rest))
				f.scan(rest[:n])
				rest = rest[n:]
			}
			if f.pending != step.want {
				t.Fatalf("after %s: %d bytes, want %d", step.about, f.pending, step.want)
			}
		}
	}
}

// TestMessagesThatDoNotEnd: who begins too many is hung up on, and who does not go on.
func TestMessagesThatDoNotEnd(t *testing.T) {
	t.Parallel()
	begun := func(streams, bytesOfEach int) []byte {
		var b bytes.Buffer
		b.WriteString(http2.ClientPreface)
		w := http2.NewFramer(&b, nil)
		for i := range streams {
			data := append([]byte{0, 0, 0x10, 0, 0}, make([]byte, bytesOfEach-5)...)
			for len(data) > 0 {
				n := min(len(data), 16<<10)
				if err := w.WriteData(uint32(2*i+1), false, data[:n]); err != nil {
					t.Fatal(err)
				}
				data = data[n:]
			}
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		about string
		sent  []byte
		known bool
		want  error
		after time.Duration
	}{
		{"a stranger's", begun(1, mostOfStranger-100), false, errUnfinished, messageTime},
		{"a stranger's that are too large", begun(2, mostOfStranger-100), false, errGreedy, 0},
		{"a client's", begun(7, MaxMessageBytes), true, errUnfinished, messageTime},
		{"a client's that are too large", begun(9, MaxMessageBytes), true, errGreedy, 0},
		{"a client's that are too many", begun(maxBegun+1, 6), true, errGreedy, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			var sender sync.WaitGroup
			sender.Go(func() { _, _ = far.Write(c.sent) }) // as far as it is read
			conn := newPacedConn(near)
			if c.known {
				conn.known()
			}
			start := time.Now()
			_, err := io.Copy(io.Discard, struct{ io.Reader }{conn})
			if took := time.Since(start); err != c.want || took != c.after {
				t.Errorf("%s: %v after %v, want %v after %v", c.about, err, took, c.want, c.after)
			}
			_ = errors.Join(near.Close(), far.Close()) // pipes have no errors
			sender.Wait()
		})
	}
}

// TestSlowMessage: a byte now and then is enough, but not for ever.
func TestSlowMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		var sender sync.WaitGroup
		sender.Go(func() {
			b := []byte(http2.ClientPreface + "\x00\x40\x00\x00\x00\x00\x00\x00\x01\x00\x00\x10\x00\x00")
			_, err := far.Write(b)
			for err == nil {
				time.Sleep(900 * time.Millisecond)
				_, err = far.Write([]byte{1})
			}
		})
		start := time.Now()
		_, err := io.Copy(io.Discard, struct{ io.Reader }{newPacedConn(near)})
		if took := time.Since(start); err != errUnfinished || took < longestMessage || took > longestMessage+2*time.Second {
			t.Errorf("%v after %v, want %v after %v", err, took, errUnfinished, longestMessage)
		}
		_ = errors.Join(near.Close(), far.Close()) // pipes have no errors
		sender.Wait()
	})
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
		if whole.pending != parts.pending || whole.pending < 0 || len(whole.begun) <= maxBegun/2 && whole.pending > len(b) {
			t.Fatalf("%d bytes are unfinished of %d, and %d in two parts", whole.pending, len(b), parts.pending)
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

func (s supply) SetReadDeadline(time.Time) error { return nil }

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
	})
}
