package tuning

import (
	"context"
	"os"
	"runtime"
	"runtime/metrics"
	"time"
)

// A heap is large from largeBytes on, and no longer so below smallBytes, by what the last
// collection kept, the floor included. To collect 96 MB (200,000 holds at a leader) takes
// some 200 ms.
const (
	largeBytes = 96 << 20
	smallBytes = 64 << 20
)

const lookInterval = time.Second

// ProcessorsByHeap is [Processors] for a node: unless n or $GOMAXPROCS says how many, it
// has all processors while its heap is large, until ctx ends. It calls tell with each change.
//
// Go's collector takes a quarter of the processors. Of a single one it takes up to 10 ms at
// a time, in which nobody else computes: beside a million holds a cycle in a hundred took
// 20 ms. With a second one the system shares out the machine's processors, and those who
// wait for their turn do not wait for so long.
func ProcessorsByHeap(ctx context.Context, n int, tell func(processors int)) {
	all := runtime.GOMAXPROCS(0)
	Processors(n)
	p := &processorsByHeap{few: runtime.GOMAXPROCS(0), all: all}
	if n != 0 || os.Getenv("GOMAXPROCS") != "" || p.few == p.all {
		return
	}
	go func() { // ends with ctx
		ticker := time.NewTicker(lookInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if p.look(liveHeap()) {
					tell(runtime.GOMAXPROCS(0))
				}
			}
		}
	}()
}

type processorsByHeap struct {
	few, all int
	large    bool // the heap is
}

// look reports whether it has changed something, for a heap of so many bytes.
func (p *processorsByHeap) look(live uint64) bool {
	switch {
	case !p.large && live >= largeBytes:
		runtime.GOMAXPROCS(p.all)
	case p.large && live < smallBytes:
		runtime.GOMAXPROCS(p.few)
	default:
		return false
	}
	p.large = !p.large
	return true
}

// liveHeap is what the last collection kept, in bytes.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0 // a Go that does not know it
	}
	return sample[0].Value.Uint64()
}
