package testcluster

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs a test in virtual time, and says so when that time stands still for
// long: what a bubble waits for that is outside of it, or for a mutex, it waits for in
// real time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	var beats atomic.Int64
	over := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watchStandstill(t.Name(), &beats, over)
	}()
	defer func() {
		close(over)
		<-watched
	}()
	synctest.Test(t, func(t *testing.T) {
		beat := make(chan struct{})
		beating := make(chan struct{})
		t.Cleanup(func() { // the first that is registered is the last that is run
			close(beat)
			<-beating
		})
		go func() {
			defer close(beating)
			for {
				select {
				case <-time.After(time.Second):
					beats.Add(1)
				case <-beat:
					return
				}
			}
		}()
		test(t)
	})
}

// standstill is how much real time may pass without any of virtual time.
const standstill = 30 * time.Second

func watchStandstill(name string, beats *atomic.Int64, over <-chan struct{}) {
	ticker := time.NewTicker(standstill)
	defer ticker.Stop()
	for before := int64(-1); ; {
		select {
		case <-over:
			return
		case <-ticker.C:
		}
		now := beats.Load()
		if now == before {
			fmt.Fprintf(os.Stderr, "testcluster: %s: virtual time has stood still for %v. Something in the test holds a mutex while it waits, "+
				"waits for something real (a socket, a subprocess), or computes without end. `kill -QUIT %d` shows what\n", name, standstill, os.Getpid())
		}
		before = now
	}
}
