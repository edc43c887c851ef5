//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema"
)

// asRunner in the environment makes the test binary run its arguments as a command
// does, under a tenure that ends when its file 3 is closed. The value is the
// wind-down, how far away the deadline is then, and, if it matters, how far before.
const asRunner = "SEMA_TEST_RUNNER"

func init() {
	if times, ok := os.LookupEnv(asRunner); ok {
		os.Exit(runnerMain(times))
	}
}

func runnerMain(times string) int {
	ctx, stop := interruptible(context.Background())
	defer stop()
	all := strings.Split(times+",1h", ",")
	windDown, left, before := mustParse(all[0]), mustParse(all[1]), mustParse(all[2])
	hold := newFakeTenure(before, left)
	signals, release := takeSignals(ctx)
	defer release()
	people := newTeller(os.Stderr)
	defer people.close()
	path, err := lookUp(os.Args[1])
	if err == nil {
		c := command{path: path, args: os.Args[1:], env: os.Environ(), files: []uintptr{0, 1, 2}, windDown: windDown,
			say: func(line string) { people.say("say: " + line) }}
		c.env = slices.DeleteFunc(c.env, func(entry string) bool { return strings.HasPrefix(entry, asRunner) })
		var end ending
		if end, err = c.run(hold, signals); err == nil {
			people.say(fmt.Sprintf("ended: %+v", end))
			return end.code
		}
	}
	people.say(fmt.Sprint("error: ", err))
	return exitCode(err)
}

func mustParse(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		panic(err)
	}
	return d
}

// fakeTenure ends when file 3 is closed at the other end.
type fakeTenure struct {
	ctx      context.Context
	mu       sync.Mutex
	deadline time.Time
}

func newFakeTenure(before, left time.Duration) *fakeTenure {
	ctx, lose := context.WithCancelCause(context.Background())
	f := &fakeTenure{ctx: ctx, deadline: time.Now().Add(before)}
	syscall.CloseOnExec(3)
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(3, "tenure"))
		f.mu.Lock()
		f.deadline = time.Now().Add(left)
		f.mu.Unlock()
		lose(sema.ErrLost)
	}()
	return f
}

func (f *fakeTenure) Context() context.Context { return f.ctx }

func (f *fakeTenure) Deadline() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deadline
}

// runner is a running process that runs a shell script as a command.
type runner struct {
	*process
	stdin *os.File // of the script
	hold  *os.File
}

// startRunner starts one; the script's $1 is a directory of the test's.
func startRunner(t *testing.T, times, script string) *runner {
	t.Helper()
	return startRunnerOf(t, times, "sh", "-c", script, "sh", t.TempDir())
}

func startRunnerOf(t *testing.T, times string, args ...string) *runner {
	t.Helper()
	return startRunnerWith(t, nil, times, args...)
}

// startRunnerWith starts one that writes to stderr, if that is not nil.
func startRunnerWith(t *testing.T, stderr *os.File, times string, args ...string) *runner {
	t.Helper()
	r := &runner{process: &process{t: t, args: strings.Join(args, " "), done: make(chan struct{})}}
	theirHold, hold := pipe(t)
	theirStdin, stdin := pipe(t)
	r.stdin, r.hold = stdin, hold
	r.cmd = exec.Command(os.Args[0], args...)
	r.cmd.Env = append(os.Environ(), asRunner+"="+times, "GORACE=atexit_sleep_ms=0")
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = theirStdin, &r.stdout, &r.stderr
	if stderr != nil {
		r.cmd.Stderr = stderr
	}
	r.cmd.ExtraFiles = []*os.File{theirHold}
	r.begin()
	theirHold.Close()
	theirStdin.Close()
	return r
}

// begin starts the process, and ends it with the test.
func (r *runner) begin() {
	r.t.Helper()
	r.cmd.WaitDelay = patience // what a command leaves behind keeps its stdout open
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait()
	}()
	r.t.Cleanup(func() {
		r.hold.Close() // with a command that is still there
		r.end()
	})
}

func pipe(t *testing.T) (theirs, ours *os.File) {
	t.Helper()
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	return theirs, ours
}

// lose ends the tenure and returns when it did.
func (r *runner) lose() time.Time {
	r.t.Helper()
	now := time.Now()
	if err := r.hold.Close(); err != nil {
		r.t.Fatal(err)
	}
	return now
}

// want checks how the runner ended, and that of the processes that said their
// number ("pid N") none is left.
func (r *runner) want(code int, stdout string, end ending, said ...string) {
	r.t.Helper()
	got := r.result()
	if got.code != code || printed(got.stdout) != stdout {
		r.t.Errorf("want code %d and %q, got code %d and %q", code, stdout, got.code, printed(got.stdout))
	}
	lines := fmt.Sprintf("ended: %+v\n", end)
	for _, line := range slices.Backward(said) {
		lines = "say: " + line + "\n" + lines
	}
	if stderr := ofRunner(got.stderr); stderr != lines {
		r.t.Errorf("want %q on stderr, got %q", lines, stderr)
	}
	r.wantGone()
}

// wantGone checks that none of the processes that said their number is left.
func (r *runner) wantGone() {
	r.t.Helper()
	for _, pid := range pids(r.stdout.String()) {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			r.t.Errorf("process %d is still there: %v", pid, err)
		}
	}
}

// pids are the processes that said their number.
func pids(stdout string) (all []int) {
	for line := range strings.Lines(stdout) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "pid "); ok {
			if pid, err := strconv.Atoi(text); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// printed is what else was said.
func printed(stdout string) string {
	var b strings.Builder
	for line := range strings.Lines(stdout) {
		if !strings.HasPrefix(line, "pid ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// ofRunner is what the runner wrote to stderr: the shell tells about signals there.
func ofRunner(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "say: ") || strings.HasPrefix(line, "ended: ") || strings.HasPrefix(line, "error: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

const (
	lostLine = "the hold was lost: stopping the command"
	leftLine = "the command ended and left processes behind: stopping them before the release"
	// long is a wind-down that nothing here should take a noticeable part of.
	long = "20s,20s"
)

// The exit code is the command's, as a shell tells it.
func TestCommandExitCode(t *testing.T) {
	t.Parallel()
	for script, code := range map[string]int{"true": 0, "exit 1": 1, "exit 75": 75, "exit 255": 255,
		"kill -KILL $$": 137, "kill -TERM $$": 143} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			startRunner(t, long, script).want(code, "", ending{code: code})
		})
	}
}

// A program that is not there, or is none, has the codes of a shell.
func TestCommandNotStarted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		name, path string
		code       int
		want       string
	}{
		{"not in the path", "no-such-program", exitNotFound, "error: no-such-program: executable file not found"},
		{"no such file", dir + "/none", exitNotFound, "error: " + dir + "/none: no such file"},
		{"no such interpreter", write("script", "#!"+dir+"/none\n", 0o755), exitNotFound, "no such file"},
		{"a directory", dir, exitNotExecutable, "cannot be run: is a directory"},
		{"not to be executed", write("plain", "#!/bin/sh\n", 0o644), exitNotExecutable, "cannot be run: permission denied"},
		{"no program", write("text", "some text", 0o755), exitNotExecutable, "cannot be run: exec format error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := startRunnerOf(t, long, tc.path).result()
			if r.code != tc.code {
				t.Errorf("exits with %d, want %d", r.code, tc.code)
			}
			contains(t, r.stderr, tc.want)
		})
	}
}

// The command reads and writes the very files of its runner.
func TestCommandFiles(t *testing.T) {
	t.Parallel()
	r := startRunner(t, long, "cat; echo to stderr >&2; exit 3")
	if _, err := r.stdin.WriteString("to stdout\n"); err != nil {
		t.Fatal(err)
	}
	r.stdin.Close()
	got := r.result()
	if want := "to stderr\nended: {code:3 lost:false left:false}\n"; got.code != 3 || got.stdout != "to stdout\n" || got.stderr != want {
		t.Errorf("got %+v", got)
	}
}

// Signals go on to the whole group, as often as they come, and do not end the
// runner before the command ends.
func TestCommandSignals(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP,
		"QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if signal.Ignored(sig) {
				t.Skip("these tests were started to ignore it")
			}
			r := startRunner(t, long, forEver("trap 'n=$((n+1)); echo "+name+" $n; test $n -lt 3 || exit 9' "+name))
			r.says("ready\n")
			for _, n := range []string{"1", "2", "3"} {
				r.signal(sig)
				r.says(name + " " + n + "\n")
			}
			r.want(9, fmt.Sprintf("ready\n%[1]s 1\n%[1]s 2\n%[1]s 3\n", name), ending{code: 9})
		})
	}
	t.Run("to children", func(t *testing.T) {
		t.Parallel()
		r := startRunner(t, long, "trap : USR1; ("+forEver("trap 'echo child; exit' USR1")+") & wait $!; wait $!; exit 4")
		r.says("ready\n")
		r.signal(syscall.SIGUSR1)
		r.want(4, "ready\nchild\n", ending{code: 4})
	})
	t.Run("no trap", func(t *testing.T) {
		t.Parallel()
		r := startRunner(t, long, "echo pid $$; echo ready; exec sleep 100")
		r.says("ready\n")
		r.signal(syscall.SIGINT)
		r.want(130, "ready\n", ending{code: 130})
	})
}

// forEver is a script that sets traps, says that it is ready and never ends. Its
// sleep is short: a shell runs its traps when the sleep ends.
func forEver(traps string) string {
	return traps + "; echo ready; while :; do sleep 0.01; done"
}
