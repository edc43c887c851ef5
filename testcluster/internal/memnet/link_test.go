package memnet_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/testcluster/internal/memnet"
)

func TestABlockHoldsAndHealingDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		say(t, w.atA, "under way, ")
		lift := w.impose(&memnet.Rule{Block: true})
		say(t, w.atA, "held, ")
		say(t, w.atA, "held too")
		hearsNothing(t, w.atB)
		time.AfterFunc(time.Minute, lift)
		want(t, "took", hears(t, w.atB, "under way, held, held too"), time.Minute)
		lift() // once more does nothing
		say(t, w.atB, "back")
		hears(t, w.atA, "back")
	})
}

func TestOneDirectionIsBlockedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		lift := w.impose(&memnet.Rule{Block: true, Match: oneWay("a", "b")})
		say(t, w.atA, "question")
		say(t, w.atB, "answer")
		hears(t, w.atA, "answer")
		hearsNothing(t, w.atB)
		lift()
		hears(t, w.atB, "question")
	})
}

// Two blocks are lifted one after the other: only the last lets through.
func TestBlocksAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		first, second := w.impose(&memnet.Rule{Block: true}), w.impose(&memnet.Rule{Block: true})
		say(t, w.atA, "x")
		first()
		hearsNothing(t, w.atB)
		second()
		hears(t, w.atB, "x")
	})
}

func TestAResetEndsBothWhoReadAndWhoWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		other, otherThere := connect(t, w.b, w.a, "a:2") // of other machines, in a way
		fill(t, w.atA)
		fill(t, w.atB)
		var ends []<-chan error
		for _, c := range []net.Conn{w.atA, w.atB} {
			ends = append(ends, start(func() error { return writing(c) }))
		}
		lift := w.impose(&memnet.Rule{Block: true}) // so that those who read wait
		for _, c := range []net.Conn{w.atA, w.atB} {
			ends = append(ends, start(readOne(c)))
		}
		<-time.After(time.Second)
		want(t, "broken", w.net.Reset(oneWay("c", "b")), 0)
		want(t, "broken", w.net.Reset(oneWay("b", "a")), 2)
		for _, end := range ends {
			wantErr(t, <-end, syscall.ECONNRESET)
		}
		lift()
		for _, c := range []net.Conn{w.atA, w.atB, other, otherThere} {
			wantErr(t, reading(t, c), syscall.ECONNRESET) // and stays
			wantErr(t, writing(c), syscall.ECONNRESET)
		}
	})
}

// A machine without power says nothing. When it is back it knows nothing.
func TestDownIsSilentAndUpResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		say(t, w.atB, "under way")
		w.b.Down()
		say(t, w.atA, "to nobody")
		hearsNothing(t, w.atA)
		done := start(readOne(w.atA))
		synctest.Wait()
		w.b.Up()
		wantErr(t, <-done, syscall.ECONNRESET)
		wantErr(t, writing(w.atA), syscall.ECONNRESET)
		wantErr(t, reading(t, w.atB), syscall.ECONNRESET)
	})
}

// What a machine says when it comes back has to get through as well.
func TestUpBehindACutIsHeardWhenItHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		lift := w.impose(&memnet.Rule{Block: true})
		w.b.Down()
		w.b.Up()
		hearsNothing(t, w.atA)
		say(t, w.atA, "to nobody")
		wantErr(t, reading(t, w.atB), syscall.ECONNRESET) // its own machine knows
		done := start(readOne(w.atA))
		synctest.Wait()
		lift()
		wantErr(t, <-done, syscall.ECONNRESET)
	})
}

func TestAPeerThatClosedBehindACutIsNoticedWhenItHeals(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to string // what is cut
		heard    bool   // the end is read nevertheless
	}{
		{"both directions", "", "", false},
		{"what it says is not heard", "b", "a", false},
		{"what it should hear is not heard", "a", "b", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := wired(t)
				match := everywhere
				if c.from != "" {
					match = oneWay(c.from, c.to)
				}
				lift := w.impose(&memnet.Rule{Block: true, Match: match})
				noError(t, w.atB.Close())
				say(t, w.atA, "are you there?")
				if !c.heard {
					hearsNothing(t, w.atA)
					lift()
				}
				want(t, "end", reading(t, w.atA), io.EOF)
				lift()
				wantErr(t, writing(w.atA), syscall.EPIPE)
			})
		})
	}
}

// What goes nowhere takes room as well: a writer waits, and is told when that is possible.
func TestAWriterWaitsForOneThatIsGoneBehindACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		lift := w.impose(&memnet.Rule{Block: true})
		noError(t, w.atB.Close())
		time.AfterFunc(time.Hour, lift)
		want(t, "took", took(func() { wantErr(t, writing(w.atA), syscall.EPIPE) }), time.Hour)
	})
}

// A connection that both ends have left is forgotten, whatever state its machines
// and links are in.
func TestWhatBothEndsHaveLeftIsForgotten(t *testing.T) {
	for _, c := range []struct {
		name  string
		leave func(t *testing.T, w *wire)
	}{
		{"closed by one, then the other", func(*testing.T, *wire) {}},
		{"cut off meanwhile", func(_ *testing.T, w *wire) { w.impose(&memnet.Rule{Block: true}) }},
		{"the one that closes first is down", func(_ *testing.T, w *wire) { w.a.Down() }},
		{"the one that closes last is down", func(_ *testing.T, w *wire) { w.b.Down() }},
		{"both are down", func(_ *testing.T, w *wire) { w.a.Down(); w.b.Down() }},
		{"it was up again", func(_ *testing.T, w *wire) { w.a.Down(); w.a.Up() }},
		{"it was up again behind a cut", func(_ *testing.T, w *wire) {
			w.impose(&memnet.Rule{Block: true})
			w.b.Down()
			w.b.Up()
		}},
		{"closed by one, and the other's power is cut", func(t *testing.T, w *wire) {
			noError(t, w.atA.Close())
			w.b.Down()
			w.b.Up()
			want(t, "connections that the network remembers", w.net.Remembered(), 0)
		}},
		{"reset", func(t *testing.T, w *wire) {
			w.net.Reset(everywhere)
			want(t, "connections that the network remembers", w.net.Remembered(), 0)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.leave(t, wired(t)) }) // wired looks when it ends
		})
	}
}

// A paused machine neither reads nor writes nor dials; what is sent to it waits there.
func TestAPausedMachineTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wired(t)
		l, err := w.b.Listen(t.Context(), "b:2")
		noError(t, err)
		defer func() { noError(t, l.Close()) }()
		w.gateA.Shut()
		say(t, w.atB, "letter")
		ops := map[string]<-chan error{
			"read":  start(readOne(w.atA)),
			"write": start(func() error { _, err := w.atA.Write([]byte("x")); return err }),
			"dial": start(func() error {
				c, err := w.a.Dial(t.Context(), "b:2")
				if err == nil {
					err = c.Close()
				}
				return err
			}),
		}
		hearsNothing(t, w.atB)
		for what, done := range ops {
			select {
			case err := <-done:
				t.Errorf("%s by a paused machine returned %v", what, err)
			default:
			}
		}
		w.gateA.Open()
		for _, done := range ops {
			noError(t, <-done)
		}
		c, err := l.Accept()
		noError(t, err)
		noError(t, c.Close())
	})
}

func TestRulesCountWhatTheyDid(t *testing.T) {
	for _, c := range []struct {
		name string
		rule *memnet.Rule
		want int64
	}{
		{"delayed", &memnet.Rule{Delay: time.Second}, 3},
		{"with jitter", &memnet.Rule{Jitter: time.Second}, 3},
		{"lost", &memnet.Rule{Loss: 1}, 3},
		{"lost never", &memnet.Rule{Loss: 0}, 0},
		{"held, each once however often somebody looks", &memnet.Rule{Block: true}, 3},
		{"of another direction", &memnet.Rule{Delay: time.Second, Match: oneWay("b", "a")}, 0},
		{"held in another direction", &memnet.Rule{Block: true, Match: oneWay("b", "a")}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := wired(t)
				lift := w.impose(c.rule)
				for range 3 {
					say(t, w.atA, "x")
				}
				if c.rule.Block && c.want > 0 {
					hearsNothing(t, w.atB)
					hearsNothing(t, w.atB)
					lift()
				}
				hears(t, w.atB, "xxx")
				lift()
				say(t, w.atA, "y")
				hears(t, w.atB, "y")
				want(t, "bitten", c.rule.Bitten.Load(), c.want)
			})
		})
	}
}
