package fsm

// Owned reports whether somebody with an account may have a [Touch] or a [Release]
// proposed as it is: what it names is there, and counts on that account or on nobody's. Of
// an attempt that nothing is known of it is true too: its client's id is known to the
// client alone, and what it has sent may still be on its way.
//
// A token is not secret: it is told to whoever finds its semaphore held, and the next one
// can be guessed. So one that is not there yet is nobody's to name. On whose account
// something counts never changes, so what is true of a state that has all that its
// leader's callers were told stays true. It takes O(log n) and allocates nothing.
func (m *Machine) Owned(c *Command, identity string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s, held := m.state.semaphores.get(c.Name)
	if c.Token == 0 && c.Attempt.Seq != 0 {
		if t := m.state.tickets.byAttempt[idOf(c.Attempt)]; t != nil {
			return t.account.is(identity)
		}
		if held {
			if i := s.findAttempt(c.Attempt); i >= 0 {
				return s.holders[i].account.is(identity)
			}
		}
		return true
	}
	if !held {
		return false
	}
	i := s.find(c.Token)
	return i >= 0 && s.holders[i].account.is(identity)
}

// is reports whether an account is that of an identity, or nobody's.
func (a *account) is(identity string) bool { return a == nil || a.identity == identity }
