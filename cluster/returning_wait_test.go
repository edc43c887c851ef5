package cluster

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Those who do not come are waited for less and less often, until they come again.
func TestReturningIsWaitedForWhenItPays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{queue: make(chan *proposal, 100), enough: make(chan struct{}, 1), ctx: context.Background()}
		o.wakeAt.Store(never)
		var r returning
		waits := func() time.Duration {
			r.expect(20, 5*time.Millisecond)
			return took(func() { o.awaitReturn(&r, 1) })
		}
		var waited []int // after which entries
		for i := range 40 {
			switch waits() {
			case 5 * time.Millisecond:
				waited = append(waited, i)
			case 0:
			default:
				t.Errorf("a wait of another length after entry %d", i)
			}
		}
		if want := []int{0, 2, 5, 10, 19, 36}; !slices.Equal(waited, want) {
			t.Errorf("waited after entries %v, want %v", waited, want)
		}
		r.skip = 0
		o.enough <- struct{}{} // from before
		time.AfterFunc(2*time.Millisecond, func() {
			o.queued.Store(14) // 15 of 20, with the one taken
			o.enough <- struct{}{}
		})
		if d := waits(); d != 2*time.Millisecond || r.penalty != 0 {
			t.Errorf("when they came: waited %v, penalty %d", d, r.penalty)
		}
		o.queued.Store(0)
		r.expect(1000, time.Hour)
		if d := took(func() { o.awaitReturn(&r, 1) }); d != maxPatience {
			t.Errorf("after an entry that took an hour: waited %v", d)
		}
		if d := took(func() { o.awaitReturn(&r, 1) }); d != 0 {
			t.Errorf("nobody was expected: waited %v", d)
		}
	})
}
