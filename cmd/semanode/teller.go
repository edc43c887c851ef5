package main

import (
	"fmt"
	"io"
	"time"
)

const (
	// tellerLines is how many lines wait for a reader; more are lost.
	tellerLines = 64
	// tellerPatience is how long the end waits for a reader.
	tellerPatience = 300 * time.Millisecond
)

// teller writes lines for people from a goroutine of its own. Nobody may read
// them: a full pipe, a terminal after Ctrl-S. What must be done in time must not
// wait for that.
type teller struct {
	lines chan string
	done  chan struct{} // closed when all is written
}

func newTeller(to io.Writer) *teller {
	t := &teller{lines: make(chan string, tellerLines), done: make(chan struct{})}
	go func() { // outlives close if nobody reads, and ends with the process
		defer close(t.done)
		for line := range t.lines {
			fmt.Fprintln(to, line)
		}
	}()
	return t
}

// say never blocks. It must not be called after close.
func (t *teller) say(line string) {
	select {
	case t.lines <- line:
	default:
	}
}

// close waits until all is written, but not for long.
func (t *teller) close() {
	close(t.lines)
	select {
	case <-t.done:
	case <-time.After(tellerPatience):
	}
}
