package load

import (
	"testing"
	"time"
)

// Whatever it is made of, it sleeps no shorter than it is told, and can be used again.
func TestSleeper(t *testing.T) {
	s, err := preciseSleeper()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{1, 100 * time.Microsecond, 3 * time.Millisecond} {
		for range 10 {
			began := time.Now()
			if err := s.sleep(d); err != nil {
				t.Fatal(err)
			}
			if slept := time.Since(began); slept < d {
				t.Errorf("slept for %v, want %v", slept, d)
			}
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
