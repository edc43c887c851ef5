package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

// session is a shell script that has a terminal of its own; "$RUN" in it runs a
// command as lock does.
type session struct {
	*runner
	keyboard *os.File
}

func startSession(t *testing.T, times string, line ...string) *session {
	t.Helper()
	keyboard, screen := openTerminalPair(t)
	s := &session{&runner{process: &process{t: t, args: strings.Join(line, " "), done: make(chan struct{})}}, keyboard}
	theirHold, hold := pipe(t)
	s.hold = hold
	s.cmd = exec.Command(line[0], line[1:]...)
	s.cmd.Env = append(os.Environ(), "RUN="+os.Args[0], asRunner+"="+times, "GORACE=atexit_sleep_ms=0")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = screen, screen, screen
	s.cmd.ExtraFiles = []*os.File{theirHold}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	read := make(chan struct{})
	go func() { // until nobody has the terminal any more
		defer close(read)
		_, _ = io.Copy(&s.stdout, keyboard)
	}()
	t.Cleanup(func() { <-read })
	s.begin()
	theirHold.Close()
	screen.Close()
	return s
}

func openTerminalPair(t *testing.T) (keyboard, screen *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	raw, err := keyboard.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := raw.Control(func(fd uintptr) {
		if err := unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			t.Error(err)
		}
		if n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return keyboard, screen
}

func (s *session) types(keys string) {
	s.t.Helper()
	if _, err := s.keyboard.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// shows waits until the screen shows a line.
func (s *session) shows(line string) {
	s.t.Helper()
	eventually(s.t, "the screen shows "+line, func() bool { return strings.Contains("\n"+s.stdout.String(), "\n"+line+"\r\n") })
}

// The command has the terminal: it reads what is typed and gets Ctrl-C. After it,
// the terminal is the caller's again.
func TestTerminal(t *testing.T) {
	t.Parallel()
	s := startSession(t, long, "sh", "-c", `"$RUN" sh -c 'read stat </proc/$$/stat; set -- $stat; test $5 = $8 && echo in front; read a; echo got $a; trap "echo interrupted" INT; echo set; read b; exit 9'
		echo code $?; read c; echo then $c`)
	s.shows("in front")
	s.types("one\n")
	s.shows("got one")
	s.shows("set")
	s.types(ctrlC)
	s.shows("code 9")
	s.types("two\n")
	s.shows("then two")
	if !strings.Contains(s.stdout.String(), "interrupted") {
		t.Error("Ctrl-C did not reach the command")
	}
}

// A program that fails to start had the terminal already.
func TestTerminalAfterNoStart(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := startSession(t, long, "sh", "-c", `"$RUN" "$0"; echo code $?; read a; echo then $a`, script)
	s.shows("code 127")
	s.types("one\n")
	s.shows("then one")
}

// Ctrl-Z stops the command and its runner, for the shell to resume both.
func TestTerminalSuspend(t *testing.T) {
	t.Parallel()
	s := startSession(t, long, "bash", "-c", `set -m; "$RUN" sh -c 'echo ready; read a; echo got $a; exit 9'; echo suspended; read b; fg; echo code $?`)
	s.shows("ready")
	s.types(ctrlZ)
	s.shows("suspended")
	s.types("go on\n")
	s.shows("go on") // echoed, and read by the shell
	s.types("one\n")
	s.shows("got one")
	s.shows("code 9")
}

// Ctrl-Z stops those of the group, too, that do not heed it: while this process
// stands still, nobody could stop them when the hold ends.
func TestTerminalSuspendStopsTheWholeGroup(t *testing.T) {
	t.Parallel()
	s := startSession(t, long, "bash", "-c", `set -m; "$RUN" sh -c '(trap "" TSTP; echo pid $(exec sh -c "echo \$PPID") ok; while :; do sleep 0.02; done) & echo ready; read a; exit 9'; echo suspended; read b; fg; echo code $?`)
	s.shows("ready")
	var said []string
	eventually(t, "the one in the background has said its number", func() bool {
		said = regexp.MustCompile(`pid (\d+) ok`).FindStringSubmatch(s.stdout.String())
		return said != nil
	})
	s.types(ctrlZ)
	s.shows("suspended")
	eventually(t, "the one that does not heed Ctrl-Z is stopped", func() bool {
		stat, err := os.ReadFile("/proc/" + said[1] + "/stat")
		// D: the shell was just starting a sleep by vfork, waits for it, and it is stopped.
		return err == nil && (strings.Contains(string(stat), ") T ") || strings.Contains(string(stat), ") D "))
	})
	s.types("go on\n")
	s.shows("go on")
	s.types("one\n")
	s.shows("code 9")
}

// A command that was suspended for so long that its hold ended never goes on.
func TestTerminalSuspendTooLong(t *testing.T) {
	t.Parallel()
	s := startSession(t, "1s,1s,-1s", "bash", "-c", `set -m; "$RUN" sh -c 'trap "echo told" TERM; echo ready; read a; echo went on'; echo suspended; read b; fg; echo code $?`)
	s.shows("ready")
	s.types(ctrlZ)
	s.shows("suspended")
	s.types("go on\n")
	s.shows("code 137")
	s.shows("say: " + lostLine)
	if screen := s.stdout.String(); strings.Contains(screen, "\ntold\r") || strings.Contains(screen, "\nwent on\r") {
		t.Error("the command did something after its hold had ended")
	}
}

// Where there is no shell that could resume, Ctrl-Z changes nothing.
func TestTerminalWithoutJobs(t *testing.T) {
	t.Parallel()
	s := startSession(t, long, os.Args[0], "sh", "-c", "echo ready; read a; echo got $a; exit 9")
	s.shows("ready")
	s.types(ctrlZ)
	s.types("one\n")
	s.shows("got one")
	if got := s.result(); got.code != 9 {
		t.Errorf("exits with %d, want 9", got.code)
	}
}

// In a pipeline the terminal stays where it was, until the command asks for it.
func TestTerminalOnDemand(t *testing.T) {
	t.Parallel()
	s := startSession(t, long, "bash", "-c", `set -m; "$RUN" sh -c 'echo ready; read a </dev/tty; echo got $a; exit 9' | cat; echo code ${PIPESTATUS[0]}`)
	s.shows("ready")
	s.types("one\n")
	s.shows("got one")
	s.shows("code 9")
}
