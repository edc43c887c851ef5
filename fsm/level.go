package fsm

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

// Mark returns a command of exactly this level that changes nothing else. Once it is
// decided, the level is part of every state: a node that does not know it stops, or does
// not start, and none is taken in. So a leader has it decided before the first command of
// that level. Below [LevelAccounts] there is nothing to mark. Whoever adds a level adds its
// mark, of what is new in it, so that every older build refuses it.
func Mark(level int) Command {
	c := Command{Kind: Query}
	if level >= LevelAccounts {
		c.Account = &Account{Identity: "level"} // a query counts on nobody's account
	}
	return c
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

// tooNewFor returns an error for a batch that a build which knows entries up to this level
// cannot decide.
func tooNewFor(knows int, commands []Command) error {
	for i := range commands {
		if level := commands[i].Level(); level > knows {
			return tooNewf("a command of level %d, this build knows %d", level, knows)
		}
	}
	return nil
}

// CheckEntry returns the error for which a machine that knows entries up to this level
// could not apply one.
func CheckEntry(entry []byte, level int) error {
	batch, err := DecodeBatch(entry)
	if err != nil {
		return err
	}
	return tooNewFor(level, batch.Commands)
}
