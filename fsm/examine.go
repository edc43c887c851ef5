package fsm

import (
	"math"
	"slices"

	"github.com/semanode/sema"
)

// farthest is beyond what cluster time and the numbers of tickets reach in a century.
const farthest = 1 << 62

// Examine holds a state that came from outside of the cluster to what no checksum tells,
// and what every state keeps that was made by entries of a log: no number is so near its
// end that it could run over, each hold has a token of its own, and the timeouts are those
// of the contract. Its errors match [ErrMalformed]. It is for machines outside of any
// cluster.
func (m *Machine) Examine() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	st := m.state
	switch {
	case st.lastToken > math.MaxInt64:
		return malformed("the last token is %d, at most %d", st.lastToken, uint64(math.MaxInt64))
	case st.clock >= farthest:
		return malformed("cluster time is %d, and stays below %d", st.clock, uint64(farthest))
	case st.tickets.last >= farthest:
		return malformed("the last ticket is %d, and stays below %d", st.tickets.last, uint64(farthest))
	}
	return st.examineHolds()
}

func (st *state) examineHolds() (err error) {
	tokens := make([]uint64, 0, st.held)
	st.semaphores.ascend("", func(_ string, s *semaphore) bool {
		for i := range s.holders {
			tokens = append(tokens, s.holders[i].token)
		}
		err = st.examineTimes(s)
		return err == nil
	})
	if err != nil {
		return err
	}
	slices.Sort(tokens)
	for i := 1; i < len(tokens); i++ {
		if tokens[i] == tokens[i-1] {
			return malformed("two holds have the token %d", tokens[i])
		}
	}
	return nil
}

// examineTimes looks at the times of those who hold and of those who wait.
func (st *state) examineTimes(s *semaphore) error {
	for i := range s.holders {
		h := &s.holders[i]
		if err := sema.ValidateTimeout(h.timeout); err != nil {
			return malformed("the hold on %q: %w", s.name, err)
		}
		if h.deadline > st.clock.Add(sema.MaxTimeout) {
			return malformed("the hold on %q ends at %d, and cluster time is %d", s.name, h.deadline, st.clock)
		}
	}
	for t := s.line.first; t != nil; t = t.behind {
		if err := sema.ValidateTimeout(t.timeout); err != nil {
			return malformed("ticket %d: %w", t.number, err)
		}
	}
	return nil
}
