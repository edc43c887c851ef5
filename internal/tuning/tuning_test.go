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
