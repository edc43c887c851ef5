package fsm

import (
	"fmt"
	"io"
	"math"
)

// Facts are what is known of a state without reading it through.
type Facts struct {
	// Index and Term are those of the last entry applied; 0 if none was since the
	// machine was made or restored.
	Index, Term uint64
	Clock       Time
	LastToken   uint64
	Holds       int
	Waiting     int // tickets in all lines
	Clients     int // whose attempts are remembered
}

// Backup is a state as it was after one entry, to be written while later ones are
// applied. As long as it is not released, the machine keeps what they change: at most
// everything twice.
type Backup struct {
	capture *capture
	facts   Facts
}

// Backup captures the state, beside the snapshots that raft takes. It holds up Apply
// for O(1). The caller must release it. Any goroutine may call it.
func (m *Machine) Backup() (*Backup, error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Backup{capture: m.state.capture(&m.mu), facts: m.facts()}, nil
}

// Facts returns what is known of the state now.
func (m *Machine) Facts() Facts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.facts()
}

// facts is Facts for those who have the lock.
func (m *Machine) facts() Facts {
	st := m.state
	return Facts{
		Index:     m.applied.index,
		Term:      m.applied.term,
		Clock:     st.clock,
		LastToken: st.lastToken,
		Holds:     st.semaphores.len(),
		Waiting:   st.tickets.byNumber.Len(),
		Clients:   st.clients.young.len() + st.clients.old.len(),
	}
}

// Facts returns what is known of the state that was captured.
func (b *Backup) Facts() Facts { return b.facts }

// WriteSnapshot writes the state as a snapshot, which [Machine.Restore] reads. It
// takes as long as the writer does.
func (b *Backup) WriteSnapshot(to io.Writer) error { return b.capture.write(to) }

// Release lets the machine forget what was kept for this backup. It is idempotent.
func (b *Backup) Release() { b.capture.Release() }

// TokenShift is how many bits of a token count within one generation. The bits above
// are the generation: how often the state was made a new cluster's. A new generation
// begins with at least half of a generation's tokens between it and the last one
// known: 2^43, of which no cluster grants more than one in microseconds, so that it
// takes it months to get there, and years under the heaviest load that was measured.
const TokenShift = 44

// MaxGeneration is the last one whose tokens fit a signed number of 64 bits, which is
// what databases have.
const MaxGeneration = 1<<(63-TokenShift) - 1

// NextGeneration is the lowest generation whose tokens are above any that the cluster
// may have granted after its last known token was this.
func NextGeneration(lastToken uint64) uint64 {
	return (lastToken+1<<(TokenShift-1))>>TokenShift + 1
}

// Succession says how the first state of a new cluster differs from the last one of
// the old.
type Succession struct {
	// Generation is what tokens begin with from then on: [NextGeneration] or more.
	Generation uint64
	// DropHolds leaves out all holds, and with them the lines before them.
	DropHolds bool
}

// Succeed makes the state that of a new cluster: tokens go on far above all that the
// old one granted. Cluster time stands still between the two, so each hold has the
// time left that it had. What clients asked stays decided as it was.
//
// It is for a machine outside of any cluster. A replica that does this by itself
// differs from the others for good.
func (m *Machine) Succeed(s Succession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.lastToken > math.MaxInt64 { // where the lowest would run over
		return malformed("the last token is %d, at most %d", m.state.lastToken, uint64(math.MaxInt64))
	}
	if lowest := NextGeneration(m.state.lastToken); s.Generation < lowest || s.Generation > MaxGeneration {
		return fmt.Errorf("generation %d: want %d to %d, for the last token is %d", s.Generation, lowest, uint64(MaxGeneration), m.state.lastToken)
	}
	m.state.lastToken = s.Generation << TokenShift
	if s.DropHolds {
		st, fresh := m.state, newState()
		st.semaphores, st.accounts, st.held = fresh.semaphores, fresh.accounts, 0
		fresh.tickets.last = st.tickets.last
		st.tickets = fresh.tickets
	}
	return nil
}
