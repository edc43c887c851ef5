package testcluster

import (
	"fmt"
	"time"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/testcluster/history"
)

// fastest is how much faster than real time the clock of a machine may run here,
// with some to spare.
const fastest = 1.01

// timeGiven checks that time without a leader is given to the holders: cluster time
// passes only while somebody leads, from the moment when the first entry of its term
// was on a disk.
func timeGiven(log history.Journal, terms map[uint64]time.Duration) error {
	var term uint64
	var base, clock fsm.Time // when the term began, and now
	for _, e := range log {
		if e.Batch.Term != e.Term {
			continue // moves no clock
		}
		if e.Term != term {
			term, base = e.Term, clock
		}
		clock = max(clock, e.Batch.Clock)
		led := e.At - terms[term]
		if passed := time.Duration(clock - base); float64(passed) > float64(led)*fastest+float64(time.Millisecond) {
			return fmt.Errorf("entry %d says that %v of cluster time have passed in term %d, whose leader was elected %v before the entry was stored: "+
				"time without a leader was taken from the holders", e.Index, passed, term, led)
		}
	}
	return nil
}
