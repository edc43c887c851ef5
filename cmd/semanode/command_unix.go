//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// supported is nil where commands can be run under a hold.
func supported() error { return nil }

// group is the process group of a command that was started. One goroutine starts
// it, signals it and reaps it, so a signal never goes to somebody who was given
// its number after it had gone.
type group struct {
	*command
	pid      int // of the command; the group has the same number
	hold     tenure
	terminal terminal

	reaped bool // the command ended
	gone   bool // and no process is left in its group
	ending ending

	began time.Time // when it was told to stop, zero if it was not
	by    time.Time // until when those that outlive the command may end by themselves
	late  bool      // people were told that it does not go
}

// run runs the command until nothing of it is left and tells how it ended. The
// error is that it was not started. signals go on to the group. If hold ends, the
// group is stopped; if the command leaves processes behind in its group, these
// are stopped, too: they are its work, and must not go on when the next one holds.
//
// The process must not have other children: run reaps whatever ends.
func (c *command) run(hold tenure, signals <-chan os.Signal) (ending, error) {
	// Where the kernel ends a command with its parent, it does so with the thread
	// that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	children := make(chan os.Signal, 1) // one is enough to look again
	signal.Notify(children, syscall.SIGCHLD)
	defer signal.Stop(children)
	suspend := make(chan os.Signal, 1) // until now Ctrl-Z stopped this process
	if !signal.Ignored(syscall.SIGTSTP) {
		signal.Notify(suspend, syscall.SIGTSTP)
		defer signal.Stop(suspend)
	}
	if hold.Context().Err() != nil {
		c.say("the hold was lost before the command was started")
		return ending{lost: true}, nil
	}
	g, err := c.start(hold)
	if err != nil {
		return ending{}, err
	}
	g.watch(signals, suspend, children)
	if hold.Context().Err() != nil && !g.ending.lost { // both happened while this process stood still
		g.ending.lost = true
		c.say("the hold was lost by the time the command had ended")
	}
	g.terminal.give(g.pid, syscall.Getpgrp())
	g.terminal.close()
	return g.ending, nil
}

func (c *command) start(hold tenure) (*group, error) {
	adoptOrphans()
	t := openTerminal()
	attr := &syscall.SysProcAttr{Setpgid: true}
	if t.isOurs() && isTerminal(c.files[0]) && isTerminal(c.files[1]) {
		attr.Foreground, attr.Ctty = true, t.fd
	}
	dieWithParent(attr)
	pid, err := syscall.ForkExec(c.path, c.args, &syscall.ProcAttr{Env: c.env, Files: c.files, Sys: attr})
	if err != nil {
		if attr.Foreground { // it came that far
			t.allowChanges()
			t.set(syscall.Getpgrp())
		}
		t.close()
		return nil, notStarted(c.args[0], err)
	}
	t.allowChanges()
	return &group{command: c, pid: pid, hold: hold, terminal: t}, nil
}

// watch returns when the command has ended and its group is gone, or when there
// is no more to be done about the group.
func (g *group) watch(signals, suspend, children <-chan os.Signal) {
	lost := g.hold.Context().Done()
	for {
		g.reap()
		if g.over() {
			return
		}
		var again <-chan time.Time
		if g.reaped || g.stopping() { // else there is nothing to look for
			again = time.After(g.lookEvery())
		}
		select {
		case <-lost:
			lost = nil
			g.lose()
		case sig := <-signals:
			g.forward(sig)
		case sig := <-suspend:
			g.forward(sig)
		case <-children:
		case <-again:
		}
		g.press()
	}
}

// reap takes in what became of the children: the command, and those of its group
// that lost their parent.
func (g *group) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG|syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil || pid == 0:
			return
		case pid != g.pid:
		case status.Stopped():
			g.stopped(status.StopSignal())
		case status.Signaled():
			g.reaped, g.ending.code = true, exitSignalled+int(status.Signal())
		case status.Exited():
			g.reaped, g.ending.code = true, status.ExitStatus()
		}
	}
}

// over reports whether the watch is over. A command that would not go is waited
// for all the same: that this process has ended must mean that the command has.
func (g *group) over() bool {
	if !g.reaped {
		return false
	}
	g.gone = g.gone || errors.Is(syscall.Kill(-g.pid, 0), syscall.ESRCH)
	if g.gone {
		return true
	}
	if g.by.IsZero() {
		g.by = time.Now().Add(g.grace())
	}
	g.ending.left = g.stopping() && !time.Now().Before(g.giveUpAt(g.began, g.hold.Deadline()))
	return g.ending.left
}

// forward passes a signal on to the whole group.
func (g *group) forward(sig os.Signal) {
	if sig != syscall.SIGPIPE { // somebody stopped listening to this process, not to the command
		g.signal(sig.(syscall.Signal))
	}
}

func (g *group) signal(sig syscall.Signal) {
	if !g.gone {
		_ = syscall.Kill(-g.pid, sig) // what becomes of it shows when it is looked for
	}
}

// lose stops the group because the hold ended.
func (g *group) lose() {
	if g.ending.lost {
		return
	}
	g.ending.lost = true
	g.say("the hold was lost: stopping the command")
	g.stop()
}

func (g *group) stopping() bool { return !g.began.IsZero() }

// stop tells the group to stop, unless it is too late for words.
func (g *group) stop() {
	if g.stopping() {
		return
	}
	g.began = time.Now()
	if g.began.Before(g.killAt(g.began, g.hold.Deadline())) {
		g.signal(syscall.SIGTERM)
		g.signal(syscall.SIGCONT) // those that stand still would not hear of it
	}
}

// press does what is due about a group that should go.
func (g *group) press() {
	now := time.Now()
	if !g.stopping() && g.reaped && !now.Before(g.by) {
		g.say("the command ended and left processes behind: stopping them before the release")
		g.stop()
	}
	if !g.stopping() {
		return
	}
	deadline := g.hold.Deadline()
	if !now.Before(g.killAt(g.began, deadline)) {
		g.signal(syscall.SIGKILL) // again and again: one of them may have been about to fork
	}
	if !g.reaped && !g.late && !now.Before(g.giveUpAt(g.began, deadline)) {
		g.late = true
		g.say(fmt.Sprintf("process %d does not go, though it was killed: somebody else may hold while it runs", g.pid))
	}
}
