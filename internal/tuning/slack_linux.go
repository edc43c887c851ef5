package tuning

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is what [TimerSlack] asks for, in nanoseconds.
const timerSlack = 1_000_000

// execed says in the environment that the process has begun anew already: where the
// slack does not outlive that, it would do so for ever.
const execed = "_SEMANODE_EXECED"

// TimerSlack lets timers of the process be a millisecond late, and does not return if for
// that the process has to begin anew, as the same process with the same arguments. It
// is called before there is anything to lose. If it cannot be had, nothing changes.
//
// Go has a thread that looks every 20 µs, while there is work, whether a processor hangs
// in a system call, to give it to other goroutines. Where a node has a single one, every
// sync of the log is found so: the processor goes to another thread and comes back, and
// the looks alone are a seventh of what a small entry costs. With late timers a node
// waits for a quick disk, and for a slow one no longer than the slack. That is a thread's
// (prctl(2), PR_SET_TIMERSLACK) and inherited: from one that has it before the runtime
// makes its own.
func TimerSlack() {
	if os.Getenv(execed) != "" {
		_ = os.Unsetenv(execed) // never fails
		return
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || before >= timerSlack || unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) != nil {
		return
	}
	beginAnew()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(before), 0, 0, 0)
}

// beginAnew returns if that cannot be: the program is no longer there, or the process may
// not start any.
func beginAnew() {
	program, err := os.Executable()
	if err != nil {
		return
	}
	var files unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	_ = syscall.Exec(program, os.Args, append(os.Environ(), execed+"=1"))
	if err == nil { // Exec gives back what Go has raised
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &files)
	}
}

// defaultSlack is what a process has of which nobody wants anything else.
const defaultSlack = 50_000

// Untuned starts another program: it does not inherit the slack.
func Untuned(start func() error) error { return withSlack(defaultSlack, start) }

// withSlack calls start on a thread that has this slack, as what is forked from it has.
func withSlack(slack uintptr, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	mine, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0) != nil {
		return start()
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(mine), 0, 0, 0) }() // as it did just now
	return start()
}
