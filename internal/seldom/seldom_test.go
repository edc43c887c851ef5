package seldom_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/internal/seldom"
)

func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := seldom.NewGate(time.Minute, 2)
		passed := func(times int) (n, omitted int) {
			for range times {
				if left, ok := g.Pass(); ok {
					n++
					omitted += left
				}
			}
			return n, omitted
		}
		if n, _ := passed(10); n != 2 {
			t.Errorf("%d of 10 passed at once, want 2", n)
		}
		time.Sleep(time.Minute) // virtual
		if n, omitted := passed(3); n != 1 || omitted != 8 {
			t.Errorf("%d passed after a minute and told of %d others, want 1 and 8", n, omitted)
		}
		time.Sleep(time.Hour)
		if n, _ := passed(10); n != 2 {
			t.Errorf("%d of 10 passed after an hour, want 2: time does not add up", n)
		}
	})
}
