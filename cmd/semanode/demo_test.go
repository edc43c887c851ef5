package main

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	p := startEnv(t, []string{"TMPDIR=" + temp}, "demo", "--workers", "4")
	text := p.result().ok(t)
	contains(t, text, "3 nodes run", "is killed", "  ok    ", "sections ran", "never two at once", "no update lost", "tokens rose from 1 to ", "the longest pause between two sections was ")
	if strings.Contains(text, "FAIL") || strings.Count(text, "\n  ok    ") != 4 {
		t.Errorf("it printed\n%s", text)
	}
	t.Log(text[strings.Index(text, "\n\n"):])
	if left := contents(t, temp); len(left) != 0 {
		t.Errorf("it left %d files", len(left))
	}
}

// Ctrl-C ends the demo with what there is to say so far.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	p := start(t, "demo", "--duration", "1h")
	p.says("sections so far")
	p.signal(syscall.SIGINT)
	r := p.result()
	if line := r.fault(t, exitFailed); line != "interrupted" {
		t.Errorf("it says %q", line)
	}
	contains(t, r.stdout, "it did not come to the death of the leader", "never two at once")
}

// The ledger catches what semaphores are there to prevent. It is made to see it
// here, since the cluster does not show it any.
func TestLedger(t *testing.T) {
	t.Parallel()
	section := func(l *ledger, token uint64) {
		l.enter(token)
		l.number.Add(1)
		l.leave(true)
	}
	for _, tc := range []struct {
		name string
		do   func(l *ledger)
		want string // the line that says what failed
	}{
		{"nothing wrong", func(*ledger) {}, ""},
		{"two at once", func(l *ledger) {
			l.enter(7)
			section(l, 8)
			l.number.Add(1)
			l.leave(true)
		}, "FAIL  never two at once: 1 times"},
		{"an update lost", func(l *ledger) {
			section(l, 7)
			l.number.Add(-1)
		}, "FAIL  no update lost: 3 sections have counted to 2"},
		{"a token falls", func(l *ledger) { section(l, 1) }, "FAIL  tokens rose from 5 to 1: 1 were not above"},
		{"a token repeats", func(l *ledger) { section(l, 6) }, "FAIL  tokens rose from 5 to 6: 1 were not above"},
		{"nothing ran after the death of the leader", func(l *ledger) { l.leaderDies() }, "FAIL  2 sections ran, 0 of them after the death"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLedger()
			section(l, 5)
			section(l, 6)
			tc.do(l)
			var out output
			err := l.summary(&out)
			if failed := tc.want != ""; errors.Is(err, errDemo) != failed {
				t.Errorf("summary returns %v", err)
			}
			contains(t, out.String(), tc.want)
			if strings.Count(out.String(), "FAIL") > 1 {
				t.Errorf("it finds more than one fault:\n%s", out.String())
			}
		})
	}
}

func TestLedgerPause(t *testing.T) {
	t.Parallel()
	start := time.Now()
	l := &ledger{start: start, left: start.Add(3 * time.Second)}
	l.paused(start.Add(5 * time.Second)) // from 3 to 5
	l.left = start.Add(6 * time.Second)
	l.paused(start.Add(7 * time.Second)) // shorter
	if l.pause != 2*time.Second || !l.pauseFrom.Equal(start.Add(3*time.Second)) {
		t.Errorf("the longest pause is %v from %v", l.pause, l.pauseFrom.Sub(start))
	}
}
