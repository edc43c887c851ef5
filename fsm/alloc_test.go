package fsm_test

import "testing"

// TestApplyAllocates is a guard that does not depend on the machine: what an entry of
// cycles, an acquire and a release each, allocates in Apply for a command is what it
// keeps and its answer, however many holds stand.
func TestApplyAllocates(t *testing.T) {
	const most = 3
	for _, standing := range []int{0, 10_000} {
		m, token := withHolds(t, standing)
		entries, _ := cycles(t, 1, token)
		i := 0
		got := testing.AllocsPerRun(len(entries)-1, func() {
			apply(t, m, entries[i])
			i++
		})
		if per := got / benchBatch; per > most {
			t.Errorf("%d holds: %.2f allocations a command, want at most %d", standing, per, most)
		} else {
			t.Logf("%d holds: %.2f allocations a command", standing, per)
		}
	}
}
