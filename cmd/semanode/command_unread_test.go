//go:build linux

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// unread is a pipe that is full: its reader is there and does not read, like a
// pager, or a terminal after Ctrl-S.
func unread(t *testing.T) (theirs *os.File) {
	t.Helper()
	_, theirs = pipe(t) // its reader stays open until the test ends
	fd := int(theirs.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{4096, 1} {
		for {
			if _, err := syscall.Write(fd, make([]byte, n)); err != nil {
				break
			}
		}
	}
	if err := syscall.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return theirs
}

// A command that ignores SIGTERM is gone in time although nobody reads what there
// is to say about it.
func TestCommandIsStoppedThoughNobodyReads(t *testing.T) {
	t.Parallel()
	theirs := unread(t)
	dir := t.TempDir()
	r := startRunnerWith(t, theirs, "1s,1s", "sh", "-c", `trap '' TERM; while :; do date >>"$1/f"; sleep 0.02; done`, "sh", dir)
	theirs.Close()
	eventually(t, "it works", func() bool { _, err := os.Stat(filepath.Join(dir, "f")); return err == nil })
	lost := r.lose() // the deadline is 1s later
	eventually(t, "the runner ends", func() bool {
		select {
		case <-r.done:
			return true
		default:
			return false
		}
	})
	last, err := os.Stat(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if after := last.ModTime().Sub(lost); after > time.Second {
		t.Errorf("the command worked %v after the hold was lost, its deadline was 1s after that", after)
	}
}

// A command starts in its turn although nobody reads how the wait went.
func TestCommandStartsThoughNobodyReads(t *testing.T) {
	t.Parallel()
	l := startLocks(t, 1)
	theirs := unread(t)
	theirStdin, stdin := pipe(t)
	defer stdin.Close()
	held := l.acquire("a")
	file := filepath.Join(t.TempDir(), "file")
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], "lock", "a", "--timeout", "1s", "--endpoints", l.endpoints, "--", "sh", "-c", `echo x >"$1"`, "sh", file},
		&os.ProcAttr{Env: append(os.Environ(), asSemanode), Files: []*os.File{theirStdin, os.Stdout, theirs}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Kill(); _, _ = p.Wait() }()
	theirs.Close()
	l.waiting("a", 1)
	if _, err := l.ReleaseToken(within(t), "a", held.Token); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command has started", func() bool { _, err := os.Stat(file); return err == nil })
}

// What a shell starts in the background of a script ignores Ctrl-C, and so does the
// command.
func TestIgnoredInterruptStaysIgnored(t *testing.T) {
	t.Parallel()
	l := startLocks(t, 1)
	p := l.lockBy([]string{"sh", "-c", `trap "" INT; exec "$@"`, "sh"}, "a", nil, untilMade+"exit 4")
	p.says("ready\n")
	p.signal(syscall.SIGINT)
	p.make()
	if got := p.result(); got.code != 4 {
		t.Errorf("exits with %d: %q %q", got.code, got.stdout, got.stderr)
	}
}
