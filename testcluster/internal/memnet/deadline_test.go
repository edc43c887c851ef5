package memnet_test

import (
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/testcluster/internal/memnet"
)

// fill leaves no room for what c writes.
func fill(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := c.Write(make([]byte, memnet.Window))
	noError(t, err)
	want(t, "room", n, memnet.Window)
}

func TestDeadlines(t *testing.T) {
	const never = -1
	for _, c := range []struct {
		name         string
		first        time.Duration // the deadline at the beginning, from then
		second       time.Duration // the one that is set after a second, from then
		set          bool          // whether it is
		want         time.Duration
		alsoWithData bool // even if there is something to read or room to write
	}{
		{name: "past", first: -time.Hour, want: 0, alsoWithData: true},
		{name: "now", first: 0, want: 0, alsoWithData: true},
		{name: "future", first: 5 * time.Second, want: 5 * time.Second},
		{name: "moved to later while waiting", first: 5 * time.Second, set: true, second: 7 * time.Second, want: 8 * time.Second},
		{name: "moved to sooner while waiting", first: 5 * time.Second, set: true, second: time.Second, want: 2 * time.Second},
		{name: "moved into the past while waiting", first: 5 * time.Second, set: true, second: -time.Hour, want: time.Second},
		{name: "set while waiting without one", first: never, set: true, second: time.Second, want: 2 * time.Second},
		{name: "cleared while waiting", first: 5 * time.Second, set: true, second: never, want: never},
	} {
		after := func(d time.Duration) time.Time {
			if d == never {
				return time.Time{}
			}
			return time.Now().Add(d)
		}
		// check times out op, which waits for something that does not come.
		check := func(t *testing.T, w *wire, set func(time.Time) error, op func() error) {
			noError(t, set(after(c.first)))
			began := time.Now()
			done := start(op)
			if c.set {
				<-time.After(time.Second)
				noError(t, set(after(c.second)))
			}
			select {
			case err := <-done:
				wantErr(t, err, os.ErrDeadlineExceeded)
				want(t, "is a timeout", isTimeout(err), true)
				want(t, "waited", time.Since(began), c.want)
			case <-time.After(time.Hour):
				want(t, "ends", time.Duration(never), c.want)
				noError(t, w.atA.Close())
				wantErr(t, <-done, net.ErrClosed)
			}
		}
		inBubble := func(what string, test func(*testing.T, *wire)) {
			t.Run(c.name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { test(t, wired(t)) })
			})
		}
		inBubble("read", func(t *testing.T, w *wire) {
			check(t, w, w.atA.SetReadDeadline, readOne(w.atA))
		})
		inBubble("write", func(t *testing.T, w *wire) {
			fill(t, w.atA)
			check(t, w, w.atA.SetWriteDeadline, func() error { return writing(w.atA) })
		})
		if c.alsoWithData {
			inBubble("read although there is data", func(t *testing.T, w *wire) {
				say(t, w.atB, "x")
				<-time.After(time.Second)
				check(t, w, w.atA.SetDeadline, readOne(w.atA))
			})
			inBubble("write although there is room", func(t *testing.T, w *wire) {
				check(t, w, w.atA.SetDeadline, func() error { return writing(w.atA) })
			})
		}
	}
}

// Who is told too early can come again.
func TestAReadAfterItsDeadlineFindsWhatCameLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		w.impose(&memnet.Rule{Delay: time.Minute})
		say(t, w.atA, "late")
		noError(t, w.atB.SetReadDeadline(time.Now().Add(time.Second)))
		wantErr(t, reading(t, w.atB), os.ErrDeadlineExceeded)
		noError(t, w.atB.SetReadDeadline(time.Time{}))
		want(t, "waited", hears(t, w.atB, "late"), time.Minute+lag-time.Second)
	})
}

func TestEveryReaderIsToldOfTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		first, second := start(readOne(w.atA)), start(readOne(w.atA))
		synctest.Wait()
		noError(t, w.atA.SetReadDeadline(time.Now()))
		wantErr(t, <-first, os.ErrDeadlineExceeded)
		wantErr(t, <-second, os.ErrDeadlineExceeded)
	})
}
