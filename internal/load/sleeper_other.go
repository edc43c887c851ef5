//go:build !linux

package load

func preciseSleeper() (sleeper, error) { return timerSleeper{}, nil }
