package fsm

import "fmt"

// Levels say what a log entry needs of those who decide it. A node that meets an entry
// above its own level stops, because to skip it would let replicas drift apart. So a
// leader proposes nothing above the lowest level of the members; and as what was decided
// at a level is in every state from then on, it cannot fall again. Append only: a kind of
// command, or a field of one, that is new has a level of its own.
const (
	LevelBase     = 1 // everything that has no level of its own
	LevelAccounts = 2 // Command.Account

	Level = LevelAccounts // of this build
)

// Level is what a node must know to decide the command.
func (c *Command) Level() int {
	if c.Account != nil {
		return LevelAccounts
	}
	return LevelBase
}

// Know makes the machine that of an older build, which knows entries and snapshots up to
// this level. It is for tests of clusters whose nodes are of different versions, and must
// be called before anything is applied.
func (m *Machine) Know(level int) { m.knows = level }

// Level is the highest that was decided at: every member knows it, or has stopped.
func (m *Machine) Level() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return max(LevelBase, int(m.state.level))
}

// tooNew returns an error for a batch that this machine does not know how to decide.
func (m *Machine) tooNew(commands []Command) error {
	for i := range commands {
		if level := commands[i].Level(); level > m.knows {
			return fmt.Errorf("a command of level %d, this build knows %d", level, m.knows)
		}
	}
	return nil
}
