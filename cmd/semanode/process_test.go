package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asSemanode in the environment makes the test binary the program itself, so
// that the tests run real processes of exactly the code under test, with the
// race detector if the tests have it.
const asSemanode = "SEMA_TEST_PROCESS=1"

// endpointsEnv is spelled out: scripts rely on it.
const endpointsEnv = "SEMANODE_ENDPOINTS"

func TestMain(m *testing.M) {
	if key, value, _ := strings.Cut(asSemanode, "="); os.Getenv(key) == value {
		go func() { // its stdin is a pipe from the tests: it must not outlive them
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(exitFailed)
		}()
		if os.Getenv(holderEnv) != "" {
			os.Exit(holder())
		}
		args := append([]string{"semanode"}, os.Args[1:]...)
		tune(args)
		os.Exit(run(context.Background(), args, strings.NewReader(""), os.Stdout, os.Stderr, os.Getenv))
	}
	os.Exit(m.Run())
}

// process is a running semanode.
type process struct {
	t              testing.TB
	args           string
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{} // closed when it has ended
}

// start starts semanode. It is killed when the test ends, if it still runs.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	return startEnv(t, nil, args...)
}

func startEnv(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	return startWith(t, nil, env, args...)
}

// startWith starts semanode with more in its environment, by a command that
// takes it and its arguments at the end.
func startWith(t testing.TB, by, env []string, args ...string) *process {
	t.Helper()
	p := prepare(t, by, env, args...)
	p.begin()
	return p
}

// prepare is a process that is yet to begin.
func prepare(t testing.TB, by, env []string, args ...string) *process {
	p := &process{t: t, args: strings.Join(args, " "), done: make(chan struct{})}
	line := slices.Concat(by, []string{os.Args[0]}, args)
	p.cmd = exec.Command(line[0], line[1:]...)
	p.cmd.Env = append(os.Environ(), asSemanode, endpointsEnv+"=", "TMPDIR="+t.TempDir(),
		"GORACE=atexit_sleep_ms=0") // the race detector would make every exit last a second
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	return p
}

func (p *process) begin() {
	p.t.Helper()
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code tells
		stdin.Close()
	}()
	p.t.Cleanup(p.end)
}

// brokenPipe is a pipe that nobody reads any more.
func brokenPipe(t testing.TB) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { w.Close() })
	return w
}

// end kills the process and, if the test failed, shows what it wrote.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
	if strings.Contains(p.stderr.String(), "DATA RACE") {
		p.t.Errorf("data race in semanode %s", p.args)
	}
	if p.t.Failed() {
		p.t.Logf("semanode %s\nstdout:\n%sstderr:\n%s", p.args, p.stdout.String(), p.stderr.String())
	}
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal %v: %v", sig, err)
	}
}

// kill ends the process without a word, and waits.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.done
}

// says waits until the process has written text to stdout.
func (p *process) says(text string) {
	p.t.Helper()
	p.writes(&p.stdout, text)
}

// complains waits until the process has written text to stderr.
func (p *process) complains(text string) {
	p.t.Helper()
	p.writes(&p.stderr, text)
}

func (p *process) writes(to *output, text string) {
	p.t.Helper()
	eventually(p.t, "semanode "+p.args+" says "+text, func() bool {
		select {
		case <-p.done:
			if !strings.Contains(to.String(), text) {
				p.t.Fatalf("semanode %s ended and did not say %q", p.args, text)
			}
		default:
		}
		return strings.Contains(to.String(), text)
	})
}

// result is how a process ended.
type result struct {
	code           int
	stdout, stderr string
}

// result waits until the process has ended.
func (p *process) result() result {
	p.t.Helper()
	eventually(p.t, "semanode "+p.args+" ends", func() bool {
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
	return result{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// semanode runs a command to its end.
func semanode(t testing.TB, args ...string) result {
	t.Helper()
	return start(t, args...).result()
}

// fault checks that a command ended with this code and one line on stderr, and
// returns that line without its prefix.
func (r result) fault(t testing.TB, code int) string {
	t.Helper()
	line, rest, ended := strings.Cut(r.stderr, "\n")
	text, ok := strings.CutPrefix(line, "semanode: ")
	if r.code != code || !ok || !ended || rest != "" {
		t.Fatalf("want exit code %d and one line that starts with \"semanode: \", got code %d and %q", code, r.code, r.stderr)
	}
	return text
}

// ok checks that a command succeeded without a word on stderr, and returns what
// it printed.
func (r result) ok(t testing.TB) string {
	t.Helper()
	if r.code != exitDone || r.stderr != "" {
		t.Fatalf("want exit code 0 and nothing on stderr, got code %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// contains checks that text holds each of the parts.
func contains(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("want %q in %q", part, text)
		}
	}
}

// patience is how long anything may take before a test fails: far more than it
// takes, on a machine that is busy with other things.
const patience = 30 * time.Second

// eventually waits until a condition holds, and fails the test with its name if
// it does not.
func eventually(t testing.TB, condition string, holds func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-late.C:
			t.Fatalf("not within %v: %s", patience, condition)
		case <-again.C:
		}
	}
}

// output is a buffer that can be read while a process writes to it.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
