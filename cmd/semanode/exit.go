package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
)

// The exit codes are part of the contract with scripts, see the package comment.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitOtherwise = 3
	exitRemoved   = 4 // of serve: the node was removed from its cluster

	// Those of lock, which takes all others from the command it runs.
	exitNotAcquired   = 75 // in time
	exitLost          = 76 // while the command ran
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignalled     = 128 // plus the number of the signal
)

// errAnswered: the semaphore answered otherwise, and the answer was printed.
var errAnswered = errors.New("the semaphore answered otherwise")

// usageError is a command line that cannot be carried out as it stands.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// usage makes an error one of usage.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// refusal is the answer of a semaphore that is not held, or not by the hold that
// the command named. It is not printed yet.
type refusal struct {
	text  string // for people
	cause error  // sema.ErrNotHeld or sema.ErrNotFound
}

func (e *refusal) Error() string { return e.text }
func (e *refusal) Unwrap() error { return e.cause }

// exitError is an end with an exit code of its own. Without a cause there is
// nothing to be said about it, or it has been said.
type exitError struct {
	code  int
	cause error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.cause.Error()
}

func (e *exitError) Unwrap() error { return e.cause }

// silent reports whether an error is no news to whoever gets the exit code.
func silent(err error) bool {
	var exit *exitError
	return err == nil || errors.Is(err, errAnswered) || errors.As(err, &exit) && exit.cause == nil
}

func exitCode(err error) int {
	var exit *exitError
	var usage usageError
	var refused *refusal
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage), errors.Is(err, sema.ErrInvalid):
		return exitUsage
	case errors.Is(err, cluster.ErrRemoved):
		return exitRemoved
	case errors.As(err, &refused), errors.Is(err, errAnswered):
		return exitOtherwise
	}
	return exitFailed
}

// oneLine is the text of an error on one line, also if it joins several.
func oneLine(err error) string {
	var line strings.Builder
	for part := range strings.FieldsFuncSeq(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }) {
		part = strings.TrimSpace(part)
		if so := line.String(); strings.HasSuffix(so, "?") || strings.HasSuffix(so, ":") {
			line.WriteString(" ")
		} else if so != "" && part != "" {
			line.WriteString("; ")
		}
		line.WriteString(part)
	}
	return line.String()
}
