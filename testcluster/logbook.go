package testcluster

import (
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema/testcluster/internal/gate"
)

// logbook keeps the newest of what was logged, to be shown if the test fails.
type logbook struct {
	mu      sync.Mutex
	lines   [][]byte
	size    int
	dropped int
}

// logbookSize bounds the logs that are kept, in bytes.
const logbookSize = 1 << 20

// Write implements [io.Writer]. hclog writes a line at a time.
func (b *logbook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, append([]byte(nil), line...))
	b.size += len(line)
	for b.size > logbookSize {
		b.size -= len(b.lines[0])
		b.lines[0] = nil
		b.lines = b.lines[1:]
		b.dropped++
	}
	return len(line), nil
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var text []byte
	if b.dropped > 0 {
		text = fmt.Appendf(text, "(%d lines before these were dropped)\n", b.dropped)
	}
	for _, line := range b.lines {
		text = append(text, line...)
	}
	return string(text)
}

// gatedLogger is the log of a machine: to log is to touch the outside, so who
// logs on a paused machine waits.
type gatedLogger struct {
	hclog.Logger
	gate *gate.Gate
}

// Log implements [hclog.Logger], as do the methods below.
func (l gatedLogger) Log(level hclog.Level, msg string, args ...any) {
	l.gate.Pass(nil)
	l.Logger.Log(level, msg, args...)
}

// Trace is Log at that level.
func (l gatedLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }

// Debug is Log at that level.
func (l gatedLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }

// Info is Log at that level.
func (l gatedLogger) Info(msg string, args ...any) { l.Log(hclog.Info, msg, args...) }

// Warn is Log at that level.
func (l gatedLogger) Warn(msg string, args ...any) { l.Log(hclog.Warn, msg, args...) }

// Error is Log at that level.
func (l gatedLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }

// With implements [hclog.Logger].
func (l gatedLogger) With(args ...any) hclog.Logger {
	return gatedLogger{l.Logger.With(args...), l.gate}
}

// Named implements [hclog.Logger].
func (l gatedLogger) Named(name string) hclog.Logger {
	return gatedLogger{l.Logger.Named(name), l.gate}
}

// ResetNamed implements [hclog.Logger].
func (l gatedLogger) ResetNamed(name string) hclog.Logger {
	return gatedLogger{l.Logger.ResetNamed(name), l.gate}
}
