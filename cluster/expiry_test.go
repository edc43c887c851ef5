package cluster

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/semanode/sema/fsm"
)

// TestExpiryAgainstAList holds the heap to a plain list of deadlines.
func TestExpiryAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		named := func(token uint64) string { return fmt.Sprint("name", token) }
		e, list := newExpiry(), map[uint64]fsm.Time{}
		token := rapid.Uint64Range(1, 20)
		at := rapid.Int64Range(0, 100)
		t.Repeat(map[string]func(*rapid.T){
			"grant": func(t *rapid.T) {
				k, d := token.Draw(t, "token"), fsm.Time(at.Draw(t, "at"))
				e.add(fsm.Deadline{Name: named(k), Token: k, At: d})
				list[k] = d
			},
			"end": func(t *rapid.T) {
				k := token.Draw(t, "token")
				e.remove(k)
				delete(list, k)
			},
			"time passes": func(t *rapid.T) {
				now := fsm.Time(at.Draw(t, "now"))
				last := fsm.Time(-1)
				for _, d := range e.due(now, 1000) {
					if d.At > now || d.At < last || list[d.Token] != d.At || d.Name != named(d.Token) {
						t.Fatalf("due at %d: %+v after %d, the list has %d", now, d, last, list[d.Token])
					}
					last = d.At
					delete(list, d.Token)
				}
				for k, d := range list {
					if d <= now {
						t.Fatalf("token %d, due at %d, is kept at %d", k, d, now)
					}
				}
			},
			"": func(t *rapid.T) {
				for i, d := range e.heap.order {
					if e.heap.order[max(0, i-1)/2].at > d.at || int(e.heap.slots.at(d.slot).place) != i {
						t.Fatalf("place %d is wrong: %+v", i, e.heap.order)
					}
				}
				if slots := &e.heap.slots; len(slots.chunks)*slotChunk-len(slots.free) != len(list) {
					t.Fatalf("%d chunks with %d free slots for %d", len(slots.chunks), len(slots.free), len(list))
				}
				if len(e.heap.order) != len(list) || len(e.byToken) != len(list) {
					t.Fatalf("%d in the heap, %d by token, want %d", len(e.heap.order), len(e.byToken), len(list))
				}
			},
		})
	})
}
