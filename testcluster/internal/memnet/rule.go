package memnet

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Rule is something that happens to what is sent from one machine to another.
type Rule struct {
	// Match says which links: what from sends to to.
	Match func(from, to string) bool
	// Block lets nothing arrive until the rule is lifted.
	Block bool
	// Delay is added to each piece, and up to Jitter more.
	Delay, Jitter time.Duration
	// Loss is the probability that a piece is lost, and sent again after 200 ms,
	// 400 ms and so on, as TCP does.
	Loss float64

	// Bitten counts what it did: pieces that were held, delayed or lost. Who dials and
	// who closes sends a piece too. What is held counts when somebody waits for it.
	Bitten atomic.Int64
}

// Impose puts a rule in force and returns what lifts it, which may be called twice.
func (n *Network) Impose(r *Rule) (lift func()) {
	n.replace(func(rules []*Rule) []*Rule { return append(rules, r) })
	return sync.OnceFunc(func() {
		n.replace(func(rules []*Rule) []*Rule {
			return slices.DeleteFunc(rules, func(other *Rule) bool { return other == r })
		})
	})
}

func (n *Network) replace(edit func([]*Rule) []*Rule) {
	n.mu.Lock()
	next := edit(slices.Clone(*n.rules.Load()))
	n.rules.Store(&next)
	n.mu.Unlock()
	n.wake()
}

const (
	// retransmission is how long a sender waits before it sends again what was lost.
	retransmission = 200 * time.Millisecond
	// maxLosses is how often in a row a piece is lost at most.
	maxLosses = 6
)

// delay is how long one piece takes that is sent now.
func (n *Network) delay(from, to string) time.Duration {
	d := n.latency()
	for _, r := range *n.rules.Load() {
		if r.Block || !r.Match(from, to) {
			continue
		}
		late := r.Delay
		if r.Jitter > 0 {
			late += time.Duration(n.float() * float64(r.Jitter))
		}
		again := retransmission
		for range maxLosses {
			if r.Loss == 0 || n.float() >= r.Loss {
				break
			}
			late += again
			again *= 2
		}
		if late > 0 {
			r.Bitten.Add(1)
		}
		d += late
	}
	return d
}

// blocked returns the rule by which nothing from one machine reaches another now,
// or nil.
func (n *Network) blocked(from, to string) *Rule {
	for _, r := range *n.rules.Load() {
		if r.Block && r.Match(from, to) {
			return r
		}
	}
	return nil
}
