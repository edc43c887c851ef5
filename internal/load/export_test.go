package load

// Virtual makes rates keep virtual time. It is for tests.
func Virtual() { newSleeper = func() (sleeper, error) { return timerSleeper{}, nil } }
