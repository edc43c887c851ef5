package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// ledger is what the demo's sections work on and report to. It knows nothing of
// semaphores: what it says about them is what the work went through.
type ledger struct {
	start time.Time
	// number is read, and written back one higher, by every section. Two at
	// once would lose an update.
	number atomic.Int64

	mu         sync.Mutex
	inside     int    // sections that run now
	done       int    // sections that ran to their end
	crowded    int    // times that a section began while another ran
	first      uint64 // token
	last       uint64 // token
	unordered  int    // tokens that were not above the one before
	left       time.Time
	pause      time.Duration // the longest without a section
	pauseFrom  time.Time
	died       time.Time // the leader; zero as long as it lives
	doneByThen int
}

func newLedger() *ledger {
	now := time.Now()
	return &ledger{start: now, left: now}
}

// enter notes that a section begins, under this token.
func (l *ledger) enter(token uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside > 0 {
		l.crowded++
	} else {
		l.paused(time.Now())
	}
	l.inside++
	if l.first == 0 {
		l.first = token
	}
	if token <= l.last {
		l.unordered++
	}
	l.last = token
}

// leave notes that a section ended, and whether it ran to its end.
func (l *ledger) leave(done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside--
	l.left = time.Now()
	if done {
		l.done++
	}
}

// paused notes that there was no section from the last one until now. l.mu is
// held.
func (l *ledger) paused(now time.Time) {
	if pause := now.Sub(l.left); pause > l.pause {
		l.pause, l.pauseFrom = pause, l.left
	}
}

func (l *ledger) sections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

// leaderDies notes that the leader dies now.
func (l *ledger) leaderDies() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.died, l.doneByThen = time.Now(), l.done
}

// errDemo: a check failed, and the summary says which.
var errDemo = errors.New("the demo found a fault: see FAIL above")

// summary prints what the work went through, when all of it has ended, and
// returns an error if anything was not as it should be.
func (l *ledger) summary(out io.Writer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.paused(now)
	number, after := l.number.Load(), l.done-l.doneByThen
	when := fmt.Sprintf("%.1fs after the start", l.pauseFrom.Sub(l.start).Seconds())
	if !l.died.IsZero() && l.pauseFrom.Before(l.died.Add(time.Second)) && l.pauseFrom.Add(l.pause).After(l.died) {
		when = "when the leader died"
	}
	failed := false
	check := func(ok bool, format string, args ...any) {
		verdict := "ok  "
		if !ok {
			verdict, failed = "FAIL", true
		}
		fmt.Fprintf(out, "  %s  %s\n", verdict, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(out, "\nWhat the work went through in %.1fs:\n\n", now.Sub(l.start).Seconds())
	if l.died.IsZero() {
		check(l.done > 0, "%d sections ran; it did not come to the death of the leader", l.done)
	} else {
		check(l.doneByThen > 0 && after > 0, "%d sections ran, %d of them after the death of the leader", l.done, after)
	}
	check(l.crowded == 0, "never two at once: %d times a section began while another ran", l.crowded)
	check(number == int64(l.done), "no update lost: %d sections have counted to %d", l.done, number)
	check(l.unordered == 0, "tokens rose from %d to %d: %d were not above the one before", l.first, l.last, l.unordered)
	fmt.Fprintf(out, "        the longest pause between two sections was %v, %s\n", short(l.pause), when)
	if failed {
		return errDemo
	}
	return nil
}
