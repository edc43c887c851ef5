package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A runner that is killed takes its command with it. What the command started is
// not covered.
func TestCommandDiesWithItsRunner(t *testing.T) {
	t.Parallel()
	r := startRunner(t, long, "trap '' TERM HUP; echo pid $$; echo ready; exec sleep 100")
	r.says("ready\n")
	pid := pids(r.stdout.String())[0]
	r.kill()
	eventually(t, "the command of a runner that was killed is gone", func() bool {
		state := fields(pid)[0]
		return state == "gone" || state == "Z" // nobody has looked yet
	})
}

// What the command leaves behind becomes the runner's, which sees it end also where
// the first process of the system does not look after orphans.
func TestOrphansAreAdopted(t *testing.T) {
	t.Parallel()
	r := startRunner(t, long, "(sleep 100 & echo pid $!); echo ready; read line")
	r.says("ready\n")
	orphan := pids(r.stdout.String())[0]
	eventually(t, "the runner is the parent of the orphan", func() bool { return fields(orphan)[1] == strconv.Itoa(r.cmd.Process.Pid) })
	r.stdin.Close()
	r.want(1, "ready\n", ending{code: 1}, leftLine)
}

// A group that cannot be ended does not keep the runner for ever, and is told of.
// Here one of it has ended, but its parent, which left the group, does not look.
func TestLeftForEver(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "100ms,1h", "(sleep 100 & echo pid $(exec sh -c 'echo $PPID'); exec setsid sleep 100) & read line; exit 3")
	eventually(t, "the parent has left the group", func() bool {
		all := pids(r.stdout.String())
		if len(all) == 0 {
			return false
		}
		sid, _, err := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(all[0]), 0, 0)
		return err == 0 && int(sid) == all[0]
	})
	t.Cleanup(func() { _ = syscall.Kill(pids(r.stdout.String())[0], syscall.SIGKILL) })
	r.stdin.Close()
	eventually(t, "the runner has given up", func() bool { return strings.Contains(r.stderr.String(), "ended: ") })
	if got, want := ofRunner(r.stderr.String()), "say: "+leftLine+"\nended: {code:3 lost:false left:true}\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// fields are what the kernel tells about a process: its state, its parent and more.
// It is "gone" if there is no such process.
func fields(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return []string{"gone", ""}
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(rest)
}
