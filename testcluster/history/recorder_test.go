package history_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster/history"
)

func TestRecorderWritesDownWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := history.NewRecorder()
		time.Sleep(time.Second)
		first := r.Begin(history.Op{ID: 77, Client: "x", Kind: history.Wait, Name: "a", Owner: "x-1", Timeout: timeout, Outcome: history.OK, Start: 5})
		time.Sleep(time.Second)
		first.Placed(2)
		second := r.Begin(history.Op{Client: "y", Kind: history.Touch, Name: "a", Token: 4})
		time.Sleep(time.Second)
		first.End(history.OK, sema.Info{Status: sema.Acquired, Token: 5}, nil)
		first.End(history.Failed, sema.Info{}, sema.ErrNoLeader) // too late
		outcome, _ := history.Classify(sema.ErrNotHeld)
		second.End(outcome, sema.Info{}, sema.ErrNotHeld)
		third := r.Begin(history.Op{Client: "z", Kind: history.Get, Name: "a"})

		h := r.History()
		third.End(history.OK, sema.Info{}, nil)
		first.Placed(1)
		want := "[1.000s to 3.000s: x, call 1: wait \"a\" as x-1 for 10s (told place 2 at 2.000s) -> ACQUIRED, token 5 of x-1" +
			" 2.000s to 3.000s: y, call 2: touch \"a\", token 4 -> not held" +
			" 3.000s on: z, call 3: get \"a\" -> no answer yet]"
		var got []string
		for i := range h.Ops {
			got = append(got, h.Ops[i].String())
		}
		if fmt.Sprint(got) != want {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if a, b := h.Ops[0], h.Ops[1]; a.StartSeq != 1 || a.Places[0].Seq != 2 || b.StartSeq != 3 || a.EndSeq != 4 || b.EndSeq != 5 || len(a.Places) != 1 {
			t.Errorf("moments out of order: %+v, %+v", a, b)
		}
		if h.Ops[1].Class != history.NotHeld || h.Ops[1].Err != sema.ErrNotHeld.Error() || first.ID() != 1 {
			t.Errorf("%+v", h.Ops[1])
		}
	})
}

func TestRecorderKnowsWhoBelievesWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := history.NewRecorder()
		lost := r.Hold(history.Hold{Op: 1, Client: "x", Name: "a", Token: 1, Until: 9, Lost: true})
		time.Sleep(time.Second)
		r.Hold(history.Hold{Op: 2, Client: "y", Name: "b", Token: 2})
		lost.End(true, r.At(time.Now().Add(time.Minute)))
		lost.End(false, 0)
		time.Sleep(time.Second)
		h := r.History()
		if a := h.Holds[0]; a.From != 0 || a.Until != time.Second || !a.Lost || a.Deadline != 61*time.Second {
			t.Errorf("%+v", a)
		}
		if b := h.Holds[1]; b.From != time.Second || b.Until != 2*time.Second || b.Lost {
			t.Errorf("%+v", b)
		}
	})
}

func TestRecorderForMany(t *testing.T) {
	r := history.NewRecorder()
	var all sync.WaitGroup
	for c := range 8 {
		all.Go(func() {
			for range 50 {
				call := r.Begin(history.Op{Client: fmt.Sprint(c), Kind: history.Get, Name: "a"})
				call.Placed(1)
				r.Hold(history.Hold{Name: "a"}).End(false, 0)
				call.End(history.Failed, sema.Info{}, sema.ErrNotFound)
				r.History()
			}
		})
	}
	all.Wait()
	seen := map[uint64]bool{}
	for _, op := range r.History().Ops {
		seen[op.StartSeq], seen[op.EndSeq] = true, true
	}
	if len(seen) != 800 {
		t.Errorf("%d moments have numbers of their own, want 800", len(seen))
	}
}
