package memnet_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/semanode/sema/testcluster/internal/gate"
	"github.com/semanode/sema/testcluster/internal/memnet"
)

// lag is how long everything takes in these tests.
const lag = time.Millisecond

// wire is a connection from machine a to machine b.
type wire struct {
	net          *memnet.Network
	a, b         *memnet.Host
	gateA, gateB gate.Gate
	atA, atB     net.Conn
	lift         func() // what cut did
}

// wired connects two machines. When the test ends both close the connection, and
// the network has forgotten it.
func wired(t *testing.T) *wire {
	t.Helper()
	w := &wire{net: memnet.New(memnet.Latency{Min: lag, Max: lag}, 1)}
	w.a, w.b = w.net.Host("a", &w.gateA), w.net.Host("b", &w.gateB)
	w.atA, w.atB = connect(t, w.a, w.b, "b:1")
	t.Cleanup(func() {
		noError(t, w.atA.Close())
		noError(t, w.atB.Close())
		want(t, "connections that the network remembers", w.net.Remembered(), 0)
		noError(t, w.net.Close())
	})
	return w
}

// connect dials an address of a machine, which listens for this one connection.
func connect(t *testing.T, from, to *memnet.Host, addr string) (here, there net.Conn) {
	t.Helper()
	l, err := to.Listen(t.Context(), addr)
	noError(t, err)
	here, err = from.Dial(t.Context(), addr)
	noError(t, err)
	there, err = l.Accept()
	noError(t, err)
	noError(t, l.Close())
	return here, there
}

func (w *wire) impose(r *memnet.Rule) (lift func()) {
	if r.Match == nil {
		r.Match = everywhere
	}
	return w.net.Impose(r)
}

func everywhere(string, string) bool { return true }

func oneWay(from, to string) func(string, string) bool {
	return func(f, t string) bool { return f == from && t == to }
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// took is how much virtual time something takes.
func took(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	n, err := io.WriteString(c, text)
	noError(t, err)
	want(t, "bytes written", n, len(text))
}

// hears reads what must come next, and returns how long that took.
func hears(t *testing.T, c net.Conn, text string) time.Duration {
	t.Helper()
	return took(func() {
		t.Helper()
		got := make([]byte, len(text))
		_, err := io.ReadFull(c, got)
		noError(t, err)
		want(t, "read", string(got), text)
	})
}

// hearsNothing waits for a virtual hour.
func hearsNothing(t *testing.T, c net.Conn) {
	t.Helper()
	noError(t, c.SetReadDeadline(time.Now().Add(time.Hour)))
	n, err := c.Read(make([]byte, 1))
	if n > 0 || !isTimeout(err) {
		t.Fatalf("read %d bytes, error %v; want silence", n, err)
	}
	noError(t, c.SetReadDeadline(time.Time{}))
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// reading is the error of the next Read, which must bring nothing else.
func reading(t *testing.T, c net.Conn) error {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	want(t, "bytes read", n, 0)
	return err
}

// writing writes until that fails, and returns the error.
func writing(c net.Conn) error {
	for {
		if _, err := c.Write(make([]byte, 1<<10)); err != nil {
			return err
		}
	}
}

// start runs something beside the test; its error arrives in the channel.
func start(op func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- op() }()
	return done
}

func readOne(c net.Conn) func() error {
	return func() error {
		_, err := c.Read(make([]byte, 1))
		return err
	}
}
