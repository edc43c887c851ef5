package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/internal/host"
)

func TestClockGoesOnFromTheBase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(1000, host.System().Clock)
		pass(3 * time.Second)
		if got := c.now(); got != 1000+3_000_000_000 {
			t.Fatalf("now is %d", got)
		}
	})
}

func TestNothingExpiresRightAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClock(0, host.System().Clock)
		for range 50 {
			pass(clockTick)
			if !c.mayExpire() {
				t.Fatal("a clock that ticks is taken for a pause")
			}
		}
		pass(5 * time.Second) // stopped
		for waited := time.Duration(0); waited < pauseGrace; waited += clockTick {
			if c.mayExpire() {
				t.Fatalf("may expire %v after a pause, before touches that wait", waited)
			}
			pass(clockTick)
		}
		if !c.mayExpire() {
			t.Fatal("the grace does not end")
		}
	})
}

// pass lets virtual time pass.
func pass(d time.Duration) { <-time.After(d) }
