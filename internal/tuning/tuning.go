// Package tuning sets up the Go runtime of a process that is ours: a node, or a load
// on one. What it does is for the whole process; a program that embeds a node or a
// client decides for itself. docs/performance.md has what each is worth.
package tuning

import (
	"os"
	"runtime"
)

// Processors bounds the processors that goroutines run on at once: to n, and if n is 0
// to half of those there are, unless $GOMAXPROCS says how many. A node hands every
// command from goroutine to goroutine and computes little: with one more processor than
// it needs each hand-over wakes a thread, which costs more than what is handed over.
// And network and disk want processors too.
func Processors(n int) {
	if n == 0 && os.Getenv("GOMAXPROCS") == "" {
		n = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if n > 0 {
		runtime.GOMAXPROCS(n)
	}
}

// heapFloor is address space that nothing is ever written to, so it takes no memory.
var heapFloor []byte

// floorBytes is how large it is: with a collection when the heap has doubled, the heap
// is at least twice as large before each. More than that leaves the processor's caches.
const floorBytes = 16 << 20

// HeapFloor has the garbage of a small heap collected less often. By itself Go collects
// whenever a heap of up to 2 MB has grown to 4 MB, which is many times per second for a
// node with few holds under load. The collector counts the floor as something to keep
// ("ballast", Twitch's engineering blog, April 2019), so up to 32 MB may be in use
// before it starts; a heap of hundreds of megabytes is hardly affected. $GOGC still
// says how much garbage there may be in proportion.
func HeapFloor() {
	if heapFloor == nil {
		heapFloor = make([]byte, floorBytes)
	}
}
