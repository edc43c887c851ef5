package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent makes the kernel end the command when this process ends without a
// word. It covers neither what the command starts nor programs that run as
// somebody else (setuid).
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

// adoptOrphans makes this process the parent of what the command leaves behind, to
// see it end. In a container there may be nobody else who does.
func adoptOrphans() {
	// Where it fails, the first process of the system takes them, as elsewhere.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}
