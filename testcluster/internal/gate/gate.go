// Package gate stops what belongs to one machine, as SIGSTOP stops a process: the
// machine's goroutines run on until they next touch the outside (network, disk,
// clock, log) and wait there.
package gate

import "sync/atomic"

// Gate is open or shut. The zero value is open. Safe for use by many goroutines.
type Gate struct {
	shut   atomic.Pointer[chan struct{}]
	waited atomic.Int64
}

// Shut makes Pass wait. It does nothing to a gate that is shut.
func (g *Gate) Shut() {
	reopened := make(chan struct{})
	g.shut.CompareAndSwap(nil, &reopened)
}

// Open lets everyone pass.
func (g *Gate) Open() {
	if reopened := g.shut.Swap(nil); reopened != nil {
		close(*reopened)
	}
}

// IsShut reports whether Pass would wait.
func (g *Gate) IsShut() bool { return g.shut.Load() != nil }

// Waited returns how often somebody found the gate shut.
func (g *Gate) Waited() int64 { return g.waited.Load() }

// Pass returns when the gate is open or done is closed; a nil done never is. An
// open gate costs one load.
func (g *Gate) Pass(done <-chan struct{}) {
	for {
		reopened := g.shut.Load()
		if reopened == nil {
			return
		}
		g.waited.Add(1)
		select {
		case <-*reopened:
		case <-done:
			return
		}
	}
}
