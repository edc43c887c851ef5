package fsm

import (
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// Machine is the state machine of one node. It implements [raft.FSM].
type Machine struct {
	mu      sync.RWMutex // guards state and applied: written by raft's one goroutine, read by any
	state   *state
	applied struct{ index, term uint64 } // of the last entry, since the machine was made or restored

	knows   int       // the highest level, see [Level]
	scratch []Command // Apply's own, used again for each entry

	failOnce sync.Once
	failed   chan struct{}
	err      error // set before failed is closed
}

var _ raft.FSM = (*Machine)(nil)

// New returns an empty machine.
func New() *Machine {
	return &Machine{state: newState(), knows: Level, failed: make(chan struct{})}
}

// Apply carries out one log entry and returns a []Result, one for each command
// in order. Once the machine has failed it changes nothing and returns the
// error. It does not keep the entry's bytes.
func (m *Machine) Apply(entry *raft.Log) any {
	if err := m.Err(); err != nil {
		return err
	}
	batch, err := decodeBatch(entry.Data, m.scratch)
	if err == nil {
		err = tooNewFor(m.knows, batch.Commands)
	}
	if err != nil {
		return m.fail(fmt.Errorf("log entry %d (term %d) cannot be applied: %w; "+
			"upgrade this node: start it with the version of the others", entry.Index, entry.Term, err))
	}
	m.scratch = batch.Commands
	results := make([]Result, len(batch.Commands))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied.index, m.applied.term = entry.Index, entry.Term
	if batch.Term == entry.Term {
		m.state.advance(batch.Stamp)
	}
	for i := range batch.Commands {
		m.state.level = max(m.state.level, uint64(batch.Commands[i].Level()))
		results[i] = m.state.apply(&batch.Commands[i])
	}
	return results
}

// Snapshot captures the state. It holds up Apply for O(1); what it
// captured is written beside later Applies.
func (m *Machine) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.capture(&m.mu), nil
}

// Restore reads a snapshot and then takes its state. A snapshot that is damaged
// or of another version is refused and changes nothing, and so is any once the
// machine has failed. It closes snapshot.
func (m *Machine) Restore(snapshot io.ReadCloser) error {
	defer snapshot.Close()
	if err := m.Err(); err != nil {
		return err
	}
	restored, err := readSnapshot(snapshot, m.knows)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = restored
	m.applied.index, m.applied.term = 0, 0
	return nil
}

// Failed is closed when the machine has met an entry that it cannot apply. The
// node must then end; Err tells why.
func (m *Machine) Failed() <-chan struct{} { return m.failed }

// Err returns why the machine failed, or nil.
func (m *Machine) Err() error {
	select {
	case <-m.failed:
		return m.err
	default:
		return nil
	}
}

func (m *Machine) fail(err error) error {
	m.failOnce.Do(func() {
		m.err = err
		close(m.failed)
	})
	return m.err
}
