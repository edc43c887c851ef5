package memnet_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/testcluster/internal/memnet"
)

func TestWhatIsSentArrivesAfterTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		say(t, w.atA, "there")
		want(t, "took", hears(t, w.atB, "there"), lag)
		say(t, w.atB, "back")
		<-time.After(time.Hour)
		want(t, "took", hears(t, w.atA, "ba"), 0) // it was there
		want(t, "took", hears(t, w.atA, "ck"), 0)
	})
}

// However long each piece takes, they arrive in order and whole.
func TestOrderIsKeptUnderJitterAndLoss(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := wired(t)
				w.impose(&memnet.Rule{Jitter: time.Second, Loss: 0.2})
				chance := rand.New(rand.NewPCG(seed, 1))
				sent := make([]byte, 3*memnet.Window)
				for i := range sent {
					sent[i] = byte(chance.Uint32())
				}
				done := start(func() error {
					for rest := sent; len(rest) > 0; {
						n := min(len(rest), 1+chance.IntN(20_000))
						if _, err := w.atA.Write(rest[:n]); err != nil {
							return err
						}
						rest = rest[n:]
					}
					return w.atA.Close()
				})
				got, err := io.ReadAll(w.atB)
				noError(t, err)
				noError(t, <-done)
				want(t, "arrived as sent", bytes.Equal(got, sent), true)
			})
		})
	}
}

// A lost packet is sent again, after 200 ms, 400 ms and so on.
func TestLossIsDelayOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		rule := &memnet.Rule{Loss: 0.5}
		w.impose(rule)
		lates := map[time.Duration]int{}
		late := int64(0)
		for range 200 {
			say(t, w.atA, "x")
			d := hears(t, w.atB, "x") - lag
			if lates[d]++; d > 0 {
				late++
			}
		}
		want(t, "late pieces, as the rule counts them", rule.Bitten.Load(), late)
		for d := range lates {
			if times := d/(200*time.Millisecond) + 1; d%(200*time.Millisecond) != 0 || times&(times-1) != 0 {
				t.Errorf("a piece came %v late", d)
			}
		}
		if lates[0] < 60 || lates[200*time.Millisecond] < 25 || lates[600*time.Millisecond] < 10 {
			t.Errorf("half of the pieces should be on time, a quarter lost once, an eighth twice: %v", lates)
		}
	})
}

func TestAWriterWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		fill(t, w.atA)
		done := start(func() error {
			_, err := w.atA.Write([]byte("more"))
			return err
		})
		<-time.After(time.Hour)
		select {
		case err := <-done:
			t.Fatalf("there was no room, and the write returned %v", err)
		default:
		}
		_, err := io.ReadFull(w.atB, make([]byte, memnet.Window))
		noError(t, err)
		noError(t, <-done)
		hears(t, w.atB, "more")
	})
}

// Two who write at once write one after the other, however long that takes.
func TestLargeWritesDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		size := 2*memnet.Window + 1
		for _, b := range []byte("xyz") {
			done := start(func() error {
				_, err := w.atA.Write(bytes.Repeat([]byte{b}, size))
				return err
			})
			defer func() { noError(t, <-done) }()
		}
		got := make([]byte, 3*size)
		_, err := io.ReadFull(w.atB, got)
		noError(t, err)
		want(t, "runs of the same letter", len(slices.Compact(got)), 3)
	})
}

func TestAfterTheLastByteComesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		say(t, w.atA, "bye")
		noError(t, w.atA.Close())
		want(t, "took", hears(t, w.atB, "bye"), lag)
		want(t, "end", reading(t, w.atB), io.EOF)
		want(t, "end", reading(t, w.atB), io.EOF) // and stays
	})
}

func TestTheEndTakesItsTimeToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		noError(t, w.atA.Close())
		want(t, "took", took(func() { want(t, "end", reading(t, w.atB), io.EOF) }), lag)
	})
}

// Who writes does not hear of it before who reads.
func TestAWriterHearsOfTheEndInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		fill(t, w.atB)
		lift := w.impose(&memnet.Rule{Delay: time.Minute, Match: oneWay("a", "b")})
		say(t, w.atA, "last word")
		lift()
		noError(t, w.atA.Close()) // which comes after the last word all the same
		want(t, "took", took(func() { wantErr(t, writing(w.atB), syscall.EPIPE) }), time.Minute+lag)
		hears(t, w.atB, "last word")
	})
}

// Who writes to one that has closed is told, and can still read what it had said.
func TestTheLastWordIsReadAfterAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		say(t, w.atA, "answer")
		noError(t, w.atA.Close())
		<-time.After(time.Second)
		wantErr(t, writing(w.atB), syscall.EPIPE)
		hears(t, w.atB, "answer")
		want(t, "end", reading(t, w.atB), io.EOF)
	})
}

func TestCloseEndsWhoWaits(t *testing.T) {
	for _, c := range []struct {
		name   string
		closes func(*wire) net.Conn
		read   error
		write  error
	}{
		{"its own", func(w *wire) net.Conn { return w.atA }, net.ErrClosed, net.ErrClosed},
		{"the other's", func(w *wire) net.Conn { return w.atB }, io.EOF, syscall.EPIPE},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := wired(t)
				fill(t, w.atA)
				reader, another := start(readOne(w.atA)), start(readOne(w.atA))
				writer := start(func() error { return writing(w.atA) })
				synctest.Wait()
				noError(t, c.closes(w).Close())
				wantErr(t, <-reader, c.read)
				wantErr(t, <-another, c.read)
				wantErr(t, <-writer, c.write)
			})
		})
	}
}

func TestAClosedConnectionIsOfNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		say(t, w.atB, "unread")
		<-time.After(time.Second)
		noError(t, w.atA.Close())
		noError(t, w.atA.Close()) // once more does nothing
		wantErr(t, reading(t, w.atA), net.ErrClosed)
		wantErr(t, writing(w.atA), net.ErrClosed)
	})
}

func TestReadsAndWritesOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		n, err := w.atA.Read(nil)
		noError(t, err)
		want(t, "read", n, 0)
		n, err = w.atA.Write(nil)
		noError(t, err)
		want(t, "written", n, 0)
		hearsNothing(t, w.atB)
	})
}

// What a caller does with its buffer after Write is its own affair.
func TestAWriteCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		buf := []byte("before")
		_, err := w.atA.Write(buf)
		noError(t, err)
		copy(buf, "after!")
		hears(t, w.atB, "before")
	})
}
