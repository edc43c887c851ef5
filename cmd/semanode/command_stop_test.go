//go:build unix

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tree is a script that starts a child and a grandchild which do the same as
// itself: set traps, say their number and go on for ever.
func tree(traps string) string {
	each := traps + `; echo pid $(exec sh -c 'echo $PPID')`
	return fmt.Sprintf("((%[1]s; %[2]s) & %[1]s; %[2]s) & %[1]s; %[2]s", each, forEver(":"))
}

// all waits until the three of a tree are at work.
func (r *runner) all() {
	r.t.Helper()
	eventually(r.t, "a command, its child and its grandchild are ready", func() bool {
		return strings.Count(r.stdout.String(), "ready\n") == 3 && len(pids(r.stdout.String())) == 3
	})
}

// A command whose hold is lost is told to stop, and may end as it likes.
func TestStopObeyed(t *testing.T) {
	t.Parallel()
	r := startRunner(t, long, forEver("trap 'echo tidied; exit 5' TERM"))
	r.says("ready\n")
	lost := r.lose()
	r.want(5, "ready\ntidied\n", ending{code: 5, lost: true}, lostLine)
	if took := time.Since(lost); took > 15*time.Second {
		t.Errorf("it ended at once, and it took %v to see that", took)
	}
}

// What does not obey is killed when three quarters of the wind-down have passed:
// the command, its children and theirs, and all are gone by the deadline.
func TestStopKills(t *testing.T) {
	t.Parallel()
	const windDown = 4 * time.Second
	r := startRunner(t, "4s,4s", tree("trap 'echo no' TERM"))
	r.all()
	lost := r.lose()
	<-r.done
	took := time.Since(lost)
	r.want(137, "ready\nready\nready\nno\nno\nno\n", ending{code: 137, lost: true}, lostLine)
	if took < windDown*3/4 || took >= windDown {
		t.Errorf("killed %v after the hold was lost, want 3s to 4s", took)
	}
}

// A hold that was ended by force has a deadline far away that means nothing: the
// wind-down counts from when it was noticed.
func TestStopKillsLongBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "4s,1h", tree("trap '' TERM"))
	r.all()
	lost := r.lose()
	<-r.done
	if took := time.Since(lost); took < 3*time.Second || took >= 4*time.Second {
		t.Errorf("killed %v after the hold was lost, want 3s to 4s", took)
	}
	r.want(137, "ready\nready\nready\n", ending{code: 137, lost: true}, lostLine)
}

// Children that do not obey are killed, too, if their parent does.
func TestStopKillsWhatTheCommandLeaves(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "1s,1s", tree("trap '' TERM")+"& trap 'exit 6' TERM; wait; wait")
	r.all()
	r.lose()
	r.want(6, "ready\nready\nready\n", ending{code: 6, lost: true}, lostLine)
}

// Who notices too late that the hold is lost has no time for words.
func TestStopTooLate(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]string{"after the deadline": "-1s", "in the last quarter": "4s"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startRunner(t, "20s,"+left, tree("trap 'echo told' TERM"))
			r.all()
			lost := r.lose()
			r.want(137, "ready\nready\nready\n", ending{code: 137, lost: true}, lostLine)
			if took := time.Since(lost); took > 3*time.Second {
				t.Errorf("killed after %v, want at once", took)
			}
		})
	}
}

// What stands still is woken to hear that it must stop, and is killed like all
// others if it does not.
func TestStopOfWhatStandsStill(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		traps, times string
		code         int
	}{
		{"trap 'exit 5' TERM", long, 5},
		{"trap '' TERM", "1s,1s", 137},
	} {
		t.Run(tc.traps, func(t *testing.T) {
			t.Parallel()
			r := startRunner(t, tc.times, "echo pid $$; "+forEver(tc.traps))
			r.says("ready\n")
			pid := pids(r.stdout.String())[0]
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			r.lose()
			r.want(tc.code, "ready\n", ending{code: tc.code, lost: true}, lostLine)
		})
	}
}

// What the command leaves behind in its group is its work: it is stopped before
// the runner goes on to release. The code is the command's.
func TestStopOfWhatIsLeftBehind(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ traps, times, want string }{
		{"trap 'echo told; exit' TERM", long, "ready\nready\nready\ntold\ntold\ntold\n"},
		{"trap '' TERM", "1s,1h", "ready\nready\nready\n"},
	} {
		t.Run(tc.traps, func(t *testing.T) {
			t.Parallel()
			r := startRunner(t, tc.times, "("+tree(tc.traps)+") & read line; exit 3")
			r.all()
			r.stdin.Close()
			r.want(3, tc.want, ending{code: 3}, leftLine)
		})
	}
}

// What ends soon after the command is left in peace.
func TestNoStopOfWhatEndsByItself(t *testing.T) {
	t.Parallel()
	r := startRunner(t, long, "(trap 'echo told' TERM; sleep 0.1; echo flushed) & exit 0")
	r.want(0, "flushed\n", ending{})
}

// A hold that is lost while leftovers are being stopped counts as lost: the work
// was still going on.
func TestLostWhileStoppingWhatIsLeftBehind(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "20s,-1s", "("+tree("trap 'echo told' TERM")+") & read line; exit 0")
	r.all()
	r.stdin.Close()
	eventually(t, "those left behind were told", func() bool { return strings.Count(r.stdout.String(), "told\n") == 3 })
	lost := r.lose()
	<-r.done
	if took := time.Since(lost); took > 3*time.Second {
		t.Errorf("killed after %v, want at once", took)
	}
	r.want(0, "ready\nready\nready\ntold\ntold\ntold\n", ending{lost: true}, leftLine, lostLine)
}

// Nobody reading what the runner says is no reason to leave the command running.
func TestStopWithoutListeners(t *testing.T) {
	t.Parallel()
	stderr, theirs := pipe(t)
	stderr.Close()
	r := startRunnerWith(t, theirs, "1s,1s", "sh", "-c", tree("trap '' TERM"))
	theirs.Close()
	r.all()
	r.lose()
	if got := r.result(); got.code != 137 {
		t.Errorf("exits with %d", got.code)
	}
	r.wantGone()
}
