//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is the one that controls this process, if there is one. It belongs to
// one process group at a time: that group may read from it, and gets what Ctrl-C
// and Ctrl-Z send.
type terminal struct{ fd int } // -1: there is none

func openTerminal() terminal {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return terminal{-1}
	}
	return terminal{fd}
}

func (t terminal) close() {
	if t.fd >= 0 {
		_ = unix.Close(t.fd)
	}
}

// isTerminal reports whether a file is the terminal that controls this process.
func isTerminal(fd uintptr) bool {
	_, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP)
	return err == nil
}

// isOurs reports whether the terminal belongs to this process's group.
func (t terminal) isOurs() bool { return t.belongsTo(unix.Getpgrp()) }

func (t terminal) belongsTo(group int) bool {
	if t.fd < 0 {
		return false
	}
	now, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && now == group
}

// give passes the terminal on, if it belongs to from. If it was given to a third
// in the meantime, such as by a shell, it stays there.
func (t terminal) give(from, to int) {
	if t.belongsTo(from) {
		t.set(to)
	}
}

func (t terminal) set(group int) {
	_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group) // where it fails, the shell sorts it out
}

// allowChanges lets this process give the terminal to others while it does not
// have it. It is for after the command was started, which would inherit it.
func (t terminal) allowChanges() {
	if t.fd >= 0 {
		signal.Ignore(syscall.SIGTTOU)
	}
}

// stopped is told that the command was stopped and still is there.
func (g *group) stopped(by syscall.Signal) {
	switch {
	case g.stopping():
	case (by == syscall.SIGTTIN || by == syscall.SIGTTOU) && g.terminal.isOurs(): // it was started without, and wants it now
		g.terminal.give(unix.Getpgrp(), g.pid)
		g.signal(syscall.SIGCONT)
	case by == syscall.SIGTSTP || by == syscall.SIGTTIN || by == syscall.SIGTTOU:
		g.suspend()
	}
	// Stopped by SIGSTOP it is somebody's who knows why: it is waited for.
}

// suspend stops this process with the whole group, for a shell to resume it. The
// hold may end meanwhile: then the command, which did nothing either, never goes on.
func (g *group) suspend() {
	g.signal(syscall.SIGSTOP) // also those of the group that did not heed Ctrl-Z
	had := g.terminal.belongsTo(g.pid)
	g.terminal.give(g.pid, unix.Getpgrp())
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	// The whole job, as Ctrl-Z does. Not by SIGTSTP, which is forwarded here. The
	// kernel ignores it if there is no shell that could resume what it stops.
	_ = syscall.Kill(0, syscall.SIGTTIN)
	select {
	case <-resumed:
	case <-time.After(250 * time.Millisecond): // it was ignored
	}
	if g.hold.Context().Err() != nil || time.Until(g.hold.Deadline()) < g.windDown {
		g.lose()
		return
	}
	if had {
		g.terminal.give(unix.Getpgrp(), g.pid)
	}
	g.signal(syscall.SIGCONT)
}
