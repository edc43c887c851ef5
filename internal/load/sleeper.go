package load

import "time"

// newSleeper is another one in tests.
var newSleeper = preciseSleeper

// timerSleeper sleeps by Go's own timers, where there is nothing better, and in
// virtual time, which the kernel knows nothing of.
type timerSleeper struct{}

func (timerSleeper) sleep(d time.Duration) error { time.Sleep(d); return nil }
func (timerSleeper) close() error                { return nil }
