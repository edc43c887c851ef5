//go:build sabotage

package sabotage

import "sync/atomic"

var current atomic.Int32

// Set breaks one thing, in the whole process, and what was broken before no more.
func Set(b Break) { current.Store(int32(b)) }

// On reports whether this is broken.
func On(b Break) bool { return Break(current.Load()) == b }

// Led knows which term a state machine has heard of last.
type Led struct{ term uint64 }

// Note takes in the term of a leader.
func (l *Led) Note(term uint64) { l.term = term }

// Odd reports whether that term is an odd one.
func (l *Led) Odd() bool { return l.term%2 == 1 }
