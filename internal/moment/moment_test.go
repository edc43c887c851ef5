package moment

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestElapsedRunsWithTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := Now()
		time.Sleep(time.Hour)
		if d := began.Elapsed(); d < time.Hour-5*time.Millisecond || d > time.Hour+5*time.Millisecond {
			t.Fatalf("an hour took %v", d)
		}
		if d := began.Until(2 * time.Hour); d < time.Hour-5*time.Millisecond || d > time.Hour+5*time.Millisecond {
			t.Fatalf("%v left of two hours", d)
		}
		if d := Now().Sub(began); d < time.Hour-5*time.Millisecond || d > time.Hour+5*time.Millisecond {
			t.Fatalf("an hour later is %v later", d)
		}
	})
}

func TestTimeSuspendedCounts(t *testing.T) {
	began := Now()
	began.suspended -= time.Hour // as if the machine had slept since
	if d := began.Elapsed(); d < time.Hour-time.Second {
		t.Fatalf("an hour of sleep counts as %v", d)
	}
	if d := Now().SleptSince(began); d < time.Hour-time.Second {
		t.Fatalf("an hour of sleep is %v", d)
	}
	if now := Now(); now.SleptSince(now) != 0 || now.Slept() != 0 {
		t.Fatal("it slept just now")
	}
}

func TestSuspendedNeverFalls(t *testing.T) {
	last := suspended()
	for range 10_000 {
		now := suspended()
		if d := now - last; d > 2*maxReading || d < -2*maxReading {
			t.Fatalf("suspended for %v, then for %v", last, now)
		}
		last = now
	}
}

func BenchmarkNow(b *testing.B) {
	for b.Loop() {
		_ = Now()
	}
}
