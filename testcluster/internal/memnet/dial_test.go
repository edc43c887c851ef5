package memnet_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/testcluster/internal/memnet"
)

// A dial takes a round trip.
func TestDial(t *testing.T) {
	for _, c := range []struct {
		name   string
		addr   string
		before func(w *wire)
		during func(w *wire) // after a second
		want   error
		text   string
		took   time.Duration
	}{
		{name: "is answered", took: 2 * lag},
		{name: "nobody listens", addr: "b:9", want: syscall.ECONNREFUSED, took: 2 * lag},
		{name: "no such machine", addr: "z:7", text: `no machine is called "z"`},
		{name: "no address", addr: "b", text: "missing port"},
		{name: "the link is cut for ever", before: cut("a", "b"), want: context.DeadlineExceeded, took: time.Minute},
		{name: "the way back is cut for ever", before: cut("b", "a"), want: context.DeadlineExceeded, took: time.Minute},
		{name: "the link heals", before: cut("a", "b"), during: healed, took: time.Second + 2*lag},
		{name: "the link is cut under way", before: slow, during: cut("b", "a"), want: context.DeadlineExceeded, took: time.Minute},
		{name: "slow beyond its deadline", before: func(w *wire) { w.impose(&memnet.Rule{Delay: time.Hour}) }, want: context.DeadlineExceeded, took: time.Minute},
		{name: "the other is down", before: func(w *wire) { w.b.Down() }, want: context.DeadlineExceeded, took: time.Minute},
		{name: "the other comes up, and listens no more", before: func(w *wire) { w.b.Down() }, during: func(w *wire) { w.b.Up() },
			want: syscall.ECONNREFUSED, took: time.Second + 2*lag},
		{name: "the other goes down under way", before: slow, during: func(w *wire) { w.b.Down() }, want: context.DeadlineExceeded, took: time.Minute},
		{name: "its own machine is down", before: func(w *wire) { w.a.Down() }, want: syscall.ENETDOWN},
		{name: "the network is closed", before: func(w *wire) { _ = w.net.Close() }, want: net.ErrClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := wired(t)
				l, err := w.b.Listen(t.Context(), "b:7")
				noError(t, err)
				if c.before != nil {
					c.before(w)
				}
				if c.during != nil {
					defer time.AfterFunc(time.Second, func() { c.during(w) }).Stop()
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if c.addr == "" {
					c.addr = "b:7"
				}
				var conn net.Conn
				want(t, "took", took(func() { conn, err = w.a.Dial(ctx, c.addr) }), c.took)
				if c.want == nil && c.text == "" {
					noError(t, err)
					noError(t, conn.Close())
				} else if c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || !strings.HasPrefix(err.Error(), "dial mem "+c.addr) {
					t.Errorf("error is %v, want %v %s", err, c.want, c.text)
				}
				noError(t, l.Close()) // with what nobody accepted
			})
		})
	}
}

func cut(from, to string) func(*wire) {
	return func(w *wire) { w.lift = w.impose(&memnet.Rule{Block: true, Match: oneWay(from, to)}) }
}

func healed(w *wire) { w.lift() }

func slow(w *wire) { w.impose(&memnet.Rule{Delay: 2 * time.Second}) }

func TestADialEndsWithItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		why := errors.New("changed my mind")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		for _, block := range []bool{false, true} {
			if block {
				w.impose(&memnet.Rule{Block: true})
			}
			_, err := w.a.Dial(ctx, "b:1")
			wantErr(t, err, why)
		}
	})
}

// A dial that waits is held by a rule like anything else that is sent.
func TestADialThatWaitsIsCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		rule := &memnet.Rule{Block: true}
		w.impose(rule)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i := range 5 { // each makes it look again
			time.AfterFunc(time.Duration(i)*time.Second, w.impose(&memnet.Rule{Match: oneWay("x", "y")}))
		}
		_, err := w.a.Dial(ctx, "b:1")
		wantErr(t, err, context.DeadlineExceeded)
		want(t, "bitten", rule.Bitten.Load(), 1)
	})
}

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		second, there := connect(t, w.a, w.b, "b:1")
		for _, c := range []struct{ what, got, want string }{
			{"network", w.atA.LocalAddr().Network(), "mem"},
			{"whom it dialled", w.atA.RemoteAddr().String(), "b:1"},
			{"where it was accepted", w.atB.LocalAddr().String(), "b:1"},
			{"who dialled", w.atB.RemoteAddr().String(), w.atA.LocalAddr().String()},
			{"an error names both ends", reading(t, closed(t, second)).Error(), "read mem " + second.LocalAddr().String() + "->b:1: use of closed network connection"},
		} {
			want(t, c.what, c.got, c.want)
		}
		host, _, err := net.SplitHostPort(w.atA.LocalAddr().String())
		noError(t, err)
		want(t, "the dialling machine", host, "a")
		want(t, "two connections share an address", w.atA.LocalAddr() == second.LocalAddr(), false)
		noError(t, there.Close())
	})
}

func closed(t *testing.T, c net.Conn) net.Conn {
	noError(t, c.Close())
	return c
}

func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		listen := func(addr string) (net.Listener, error) { return w.b.Listen(t.Context(), addr) }
		l, err := listen("b:7")
		noError(t, err)
		want(t, "address", l.Addr().String(), "b:7")
		_, err = listen("b:7")
		wantErr(t, err, syscall.EADDRINUSE)
		_, err = listen("b")
		want(t, "an address without a port is refused", err != nil, true)
		for _, port := range []string{"b:0", ":0"} {
			free, err := listen(port)
			noError(t, err)
			c, err := w.a.Dial(t.Context(), free.Addr().String())
			noError(t, err)
			noError(t, c.Close())
			noError(t, free.Close())
		}
		noError(t, l.Close())
		noError(t, l.Close())
		_, err = l.Accept()
		wantErr(t, err, net.ErrClosed)
		again, err := listen("b:7") // the port is free again
		noError(t, err)
		noError(t, l.Close()) // the old one takes nothing away
		_, err = listen("b:7")
		wantErr(t, err, syscall.EADDRINUSE)
		noError(t, again.Close())
	})
}

func TestClosingAListenerEndsWhoWaits(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(w *wire, l net.Listener)
		why  error // of the connection that nobody accepted; nil if nobody is told
	}{
		{"closed", func(_ *wire, l net.Listener) { _ = l.Close() }, syscall.ECONNRESET},
		{"its machine is down", func(w *wire, _ net.Listener) { w.b.Down() }, nil},
		{"the network is closed", func(w *wire, _ net.Listener) { _ = w.net.Close() }, syscall.ECONNRESET},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := wired(t)
				l, err := w.b.Listen(t.Context(), "b:7")
				noError(t, err)
				queued, err := w.a.Dial(t.Context(), "b:7")
				noError(t, err)
				c.end(w, l)
				if c.why == nil {
					hearsNothing(t, queued)
					w.b.Up()
				}
				wantErr(t, reading(t, queued), syscall.ECONNRESET)
				noError(t, queued.Close())
				_, err = l.Accept()
				wantErr(t, err, net.ErrClosed)
			})
		})
	}
	t.Run("while it accepts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l, err := wired(t).b.Listen(t.Context(), "b:7")
			noError(t, err)
			done := start(func() error { _, err := l.Accept(); return err })
			synctest.Wait()
			noError(t, l.Close())
			wantErr(t, <-done, net.ErrClosed)
		})
	})
}

func TestAListenerThatDoesNotAcceptRefusesInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		l, err := w.b.Listen(t.Context(), "b:7")
		noError(t, err)
		for range memnet.Backlog {
			c, err := w.a.Dial(t.Context(), "b:7")
			noError(t, err)
			defer func() { noError(t, c.Close()) }()
		}
		_, err = w.a.Dial(t.Context(), "b:7")
		wantErr(t, err, syscall.ECONNREFUSED)
		noError(t, l.Close())
	})
}
