//go:build !sabotage

package sabotage

// On reports false: this build keeps its promises.
func On(Break) bool { return false }

// Led would know which terms there were. It is empty.
type Led struct{}

// Note does nothing.
func (Led) Note(uint64) {}

// Odd reports false.
func (Led) Odd() bool { return false }
