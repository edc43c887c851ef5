package tuning

import (
	"runtime"
	"testing"
)

// A process with a small heap collects at 4 MB otherwise.
func TestHeapFloorRaisesTheGoal(t *testing.T) {
	HeapFloor()
	HeapFloor() // is idempotent
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if stats.NextGC < 2*floorBytes || stats.NextGC > 4*floorBytes {
		t.Errorf("the next collection is at %d bytes, want a little more than %d", stats.NextGC, 2*floorBytes)
	}
}

func TestProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for _, c := range []struct {
		n    int
		env  string
		want int
	}{
		{n: 3, env: "", want: 3},
		{n: 3, env: "2", want: 3},
		{n: 0, env: "2", want: 4},
		{n: 0, env: "", want: 2},
	} {
		t.Setenv("GOMAXPROCS", c.env) // read by the runtime at the start only
		runtime.GOMAXPROCS(4)
		if Processors(c.n); runtime.GOMAXPROCS(0) != c.want {
			t.Errorf("Processors(%d) with $GOMAXPROCS=%q computes on %d processors, want %d", c.n, c.env, runtime.GOMAXPROCS(0), c.want)
		}
	}
	runtime.GOMAXPROCS(1)
	if Processors(0); runtime.GOMAXPROCS(0) != 1 {
		t.Error("half of one processor is not one")
	}
}

// A node whose heap has become large has all processors, until it is small again.
func TestProcessorsByHeap(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	t.Setenv("GOMAXPROCS", "")
	told := make(chan int)
	ProcessorsByHeap(t.Context(), 0, func(processors int) {
		select {
		case told <- processors:
		case <-t.Context().Done():
		}
	})
	if runtime.GOMAXPROCS(0) != 2 {
		t.Errorf("with a small heap it computes on %d processors, want 2", runtime.GOMAXPROCS(0))
	}
	large := make([]byte, largeBytes)
	runtime.GC()
	if n := <-told; n != 4 {
		t.Errorf("with a large heap it computes on %d processors, want 4", n)
	}
	runtime.KeepAlive(large)
	large = nil
	runtime.GC()
	if n := <-told; n != 2 {
		t.Errorf("with a small heap again it computes on %d processors, want 2", n)
	}
}

func TestProcessorsByHeapThatAreGiven(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for _, c := range []struct {
		n    int
		env  string
		want int
	}{{n: 3, want: 3}, {env: "4", want: 4}} {
		t.Setenv("GOMAXPROCS", c.env)
		runtime.GOMAXPROCS(4)
		began := runtime.NumGoroutine()
		ProcessorsByHeap(t.Context(), c.n, func(int) {})
		if runtime.GOMAXPROCS(0) != c.want || runtime.NumGoroutine() > began {
			t.Errorf("%d given, $GOMAXPROCS=%q: %d processors and %d goroutines more, want %d and none",
				c.n, c.env, runtime.GOMAXPROCS(0), runtime.NumGoroutine()-began, c.want)
		}
	}
}

// Between the two bounds nothing changes.
func TestProcessorsDoNotFlutter(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	p := &processorsByHeap{few: 1, all: 2}
	for i, c := range []struct {
		live    uint64
		changes bool
	}{{smallBytes, false}, {largeBytes - 1, false}, {largeBytes, true}, {smallBytes, false}, {smallBytes - 1, true}, {largeBytes - 1, false}} {
		if p.look(c.live) != c.changes {
			t.Errorf("look %d at %d bytes: changed %v, want %v", i, c.live, !c.changes, c.changes)
		}
	}
}
