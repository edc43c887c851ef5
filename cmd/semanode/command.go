package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// command is a program that may run only while a hold stands. It runs in a
// process group of its own, and what is promised of it is promised of the group.
type command struct {
	path     string   // as lookUp found it
	args     []string // args[0] is what it was called by
	env      []string
	files    []uintptr         // its stdin, stdout and stderr
	windDown time.Duration     // set aside for stopping it
	say      func(line string) // tells people
}

// tenure is for how long a command may run.
type tenure interface {
	// Context ends when the command must be stopped.
	Context() context.Context
	// Deadline is the moment by which it must be gone.
	Deadline() time.Time
}

// ending is how a command ended.
type ending struct {
	code int  // as a shell tells it: its own, or 128+n if signal n ended it
	lost bool // the tenure ended before the last process of its group did
	left bool // there are processes in its group that would not go
}

// killAt is when SIGKILL is due for what was told to stop at began: when three
// quarters of the wind-down have passed. The last quarter is for the kernel, and
// for seeing that all are gone. It never reaches beyond the deadline, so what is
// told late has less time, or none.
func (c *command) killAt(began, deadline time.Time) time.Time {
	return earlier(began.Add(c.windDown*3/4), deadline.Add(-c.windDown/4))
}

// giveUpAt is when no more is expected of SIGKILL. A process that waits for a
// disk or a network that does not answer can outlast it.
func (c *command) giveUpAt(began, deadline time.Time) time.Time {
	killed := c.killAt(began, deadline)
	if killed.Before(began) {
		killed = began
	}
	return killed.Add(max(c.windDown/4, time.Second))
}

// grace is for how long processes that outlive the command may end by themselves,
// such as the tee at the end of its output, before they are told to.
func (c *command) grace() time.Duration { return min(c.windDown/4, time.Second) }

// lookEvery is how often to look whether a group that is being stopped is gone.
func (c *command) lookEvery() time.Duration {
	return min(max(c.windDown/100, time.Millisecond), 20*time.Millisecond)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// lookUp finds a program as a shell does. Its error has the shell's exit code.
func lookUp(name string) (path string, err error) {
	path, err = exec.LookPath(name)
	if err != nil {
		return "", notStarted(name, err)
	}
	return path, nil
}

// notStarted is the error of a program that could not be started.
func notStarted(name string, err error) error {
	var lookUp *exec.Error // these two say the name again
	if errors.As(err, &lookUp) {
		err = lookUp.Err
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return &exitError{exitNotFound, fmt.Errorf("%s: %w", name, err)}
	}
	return &exitError{exitNotExecutable, fmt.Errorf("%s cannot be run: %w", name, err)}
}

// withEnv returns an environment with more in it, each "KEY=value". What it had
// under these keys is left out: programs differ in which of two they take.
func withEnv(env []string, more ...string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(old string) bool {
		return slices.ContainsFunc(more, func(entry string) bool {
			key, _, _ := strings.Cut(entry, "=")
			return strings.HasPrefix(old, key+"=")
		})
	})
	return append(env, more...)
}
