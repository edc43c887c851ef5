package gate_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/testcluster/internal/gate"
)

// passing goes through the gate beside the test.
func passing(g *gate.Gate, done <-chan struct{}) (passed <-chan struct{}) {
	through := make(chan struct{})
	go func() {
		g.Pass(done)
		close(through)
	}()
	return through
}

func isClosed(c <-chan struct{}) bool {
	synctest.Wait()
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestAGateIsOpenAtFirst(t *testing.T) {
	var g gate.Gate
	g.Pass(nil)
	g.Open() // does nothing to a gate that is open
	g.Pass(nil)
	if g.IsShut() || g.Waited() != 0 {
		t.Errorf("shut: %v, waited: %d times", g.IsShut(), g.Waited())
	}
}

func TestWhoFindsItShutWaitsUntilItOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate.Gate
		g.Shut()
		passed := passing(&g, nil)
		synctest.Wait()
		g.Shut() // does nothing to a gate that is shut
		if isClosed(passed) || !g.IsShut() || g.Waited() != 1 {
			t.Fatalf("passed: %v, shut: %v, waited: %d times", isClosed(passed), g.IsShut(), g.Waited())
		}
		began := time.Now()
		time.AfterFunc(time.Hour, g.Open)
		if <-passed; time.Since(began) != time.Hour {
			t.Errorf("passed after %v", time.Since(began))
		}
		g.Pass(nil)
	})
}

func TestWhoIsDoneNeedNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate.Gate
		g.Shut()
		done := make(chan struct{})
		hurried, patient := passing(&g, done), passing(&g, nil)
		if isClosed(hurried) {
			t.Fatal("passed a gate that is shut")
		}
		close(done)
		if !isClosed(hurried) || isClosed(patient) {
			t.Errorf("who is done passed: %v; who is not: %v", isClosed(hurried), isClosed(patient))
		}
		g.Pass(done) // at once
		g.Open()
		<-patient
	})
}

func TestManyPassWhileItOpensAndShuts(t *testing.T) {
	var g gate.Gate
	var passed atomic.Int64
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 50 {
		wg.Go(func() {
			for range 200 {
				g.Pass(done)
				passed.Add(1)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 500 {
				g.Shut()
				g.Open()
			}
		})
	}
	wg.Wait() // every Shut is followed by an Open: nobody is left
	if g.IsShut() || passed.Load() != 50*200 {
		t.Errorf("shut: %v, passed: %d", g.IsShut(), passed.Load())
	}
}
