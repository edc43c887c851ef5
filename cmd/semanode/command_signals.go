//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// takeSignals takes the signals that a command is to get over from [interruptible].
// Those that this process was started to ignore, as nohup does, stay ignored: the
// command will ignore them, too.
func takeSignals(ctx context.Context) (_ <-chan os.Signal, stop func()) {
	signals := make(chan os.Signal, 16)
	// SIGPIPE is among them so that a line for people which nobody reads any more
	// does not end this process, while the command runs.
	take := []os.Signal{syscall.SIGPIPE}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH} {
		if !signal.Ignored(sig) {
			take = append(take, sig)
		}
	}
	signal.Notify(signals, take...)
	yieldSignals(ctx) // only now, so that none is lost in between
	return signals, func() { signal.Stop(signals) }
}
