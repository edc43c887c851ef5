//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

// locks is a cluster to lock in.
type locks struct {
	t         testing.TB
	nodes     *nodes
	endpoints string
	*client.Client
}

func startLocks(t *testing.T, n int) *locks {
	t.Helper()
	c := startNodes(t, n)
	return &locks{t, c, c.endpoints(), c.client()}
}

// lock starts semanode lock, which runs a shell script whose $1 is a file that is
// not there.
func (l *locks) lock(name string, flags []string, script string) *locked {
	l.t.Helper()
	return l.lockBy(nil, name, flags, script)
}

func (l *locks) lockBy(by []string, name string, flags []string, script string) *locked {
	l.t.Helper()
	file := filepath.Join(l.t.TempDir(), "file")
	args := append([]string{"lock", name, "--endpoints", l.endpoints}, flags...)
	return &locked{startWith(l.t, by, nil, append(args, "--", "sh", "-c", script, "sh", file)...), file}
}

// locked is a process that locks.
type locked struct {
	*process
	file string
}

// make makes the file.
func (p *locked) make() {
	p.t.Helper()
	if err := os.WriteFile(p.file, nil, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// untilMade is a script that says that it runs and waits for the file.
const untilMade = `echo ready; while [ ! -e "$1" ]; do sleep 0.01; done; `

// want checks how the process ended; stderr holds these parts and has as many
// lines, without those of the shell.
func (p *locked) want(code int, stdout string, stderr ...string) {
	p.t.Helper()
	got := p.result()
	if got.code != code || printed(got.stdout) != stdout {
		p.t.Errorf("want code %d and %q, got code %d and %q", code, stdout, got.code, printed(got.stdout))
	}
	lines := ""
	for line := range strings.Lines(got.stderr) {
		if strings.HasPrefix(line, "semanode: ") {
			lines += line
		}
	}
	if strings.Count(lines, "\n") != len(stderr) {
		p.t.Errorf("want %d lines on stderr, got %q", len(stderr), lines)
	}
	contains(p.t, lines, stderr...)
	for _, pid := range pids(got.stdout) {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			p.t.Errorf("process %d is still there: %v", pid, err)
		}
	}
}

func (l *locks) get(name string) sema.Info {
	l.t.Helper()
	info, err := l.Get(within(l.t), name)
	if err != nil && !errors.Is(err, sema.ErrNotFound) {
		l.t.Fatal(err)
	}
	return info
}

func (l *locks) wantFree(name string) {
	l.t.Helper()
	if info := l.get(name); info.Token != 0 {
		l.t.Errorf("%q is held: %+v", name, info)
	}
}

func (l *locks) waiting(name string, n int) {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("%d wait for %q", n, name), func() bool { return l.get(name).Waiting == n })
}

// acquire holds a semaphore as somebody else would.
func (l *locks) acquire(name string) sema.Info {
	l.t.Helper()
	info, err := l.Acquire(within(l.t), name, "somebody", time.Hour)
	if err != nil || info.Status != sema.Acquired {
		l.t.Fatal(info, err)
	}
	return info
}

// A lock, as people and scripts use it, in one cluster.
func TestLock(t *testing.T) {
	t.Parallel()
	l := startLocks(t, 3)
	for _, test := range []struct {
		name string
		run  func(t *testing.T, l locks)
	}{
		{"the command", testLockCommand},
		{"no command", testLockNoCommand},
		{"not acquired", testLockNotAcquired},
		{"in line", testLockInLine},
		{"interrupted in line", testLockInterruptedInLine},
		{"kept", testLockKept},
		{"interrupted at work", testLockInterruptedAtWork},
		{"nohup", testLockNohup},
		{"ended by force", testLockForced},
		{"ended by force and not noticed", testLockForcedUnnoticed},
		{"stopped for too long", testLockStopped},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			mine := *l
			mine.t = t
			test.run(t, mine)
		})
	}
}

// The command knows what it holds; its code is the code.
func testLockCommand(t *testing.T, l locks) {
	before := l.get("command").Token
	p := l.lock("command", []string{"--owner", "me"}, `echo "$SEMA_NAME $SEMA_OWNER"; echo $SEMA_TOKEN; exit 7`)
	got := p.result()
	first, token, _ := strings.Cut(strings.TrimSpace(got.stdout), "\n")
	if n, err := strconv.ParseUint(token, 10, 64); got.code != 7 || first != "command me" || err != nil || n <= before || got.stderr != "" {
		t.Errorf("got %+v", got)
	}
	l.wantFree("command")
	env := startEnv(t, []string{"SEMA_TOKEN=old"}, "lock", "command", "--endpoints", l.endpoints, "--", "env").result() // a shell would hide a second one
	if strings.Count(env.stdout, "SEMA_TOKEN=") != 1 || strings.Contains(env.stdout, "SEMA_TOKEN=old\n") {
		t.Errorf("an older token is left: %s", env.stdout)
	}
	l.lock("command", nil, "kill -KILL $$").want(137, "")
	l.wantFree("command")
}

// Who misspelt the command learns it before the wait in line.
func testLockNoCommand(t *testing.T, l locks) {
	held := l.acquire("no command")
	for command, code := range map[string]int{"no-such-program": exitNotFound, t.TempDir(): exitNotExecutable} {
		r := semanode(t, "lock", "no command", "--endpoints", l.endpoints, "--", command)
		contains(t, r.fault(t, code), command)
	}
	if now := l.get("no command"); now.Token != held.Token || now.Waiting != 0 {
		t.Errorf("somebody touched %+v: %+v", held, now)
	}
	// What shows only when it is started gives the hold back at once.
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/no/such/interpreter\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	semanode(t, "lock", "no interpreter", "--endpoints", l.endpoints, "--", script).fault(t, exitNotFound)
	l.wantFree("no interpreter")
}

func testLockNotAcquired(t *testing.T, l locks) {
	l.acquire("taken")
	l.lock("taken", []string{"--wait", "0"}, "echo no").want(exitNotAcquired, "", `not acquired: `)
	l.lock("taken", []string{"--wait", "2s", "--quiet"}, "echo no").want(exitNotAcquired, "", `not acquired within 2s: "taken" is held by somebody since `)
	l.lock("taken", []string{"--wait", "2s"}, "echo no").want(exitNotAcquired, "", `"taken" is held by somebody since `, "not acquired within")
	if n := l.get("taken").Waiting; n != 0 {
		t.Errorf("%d still wait", n)
	}
	l.endpoints = freeAddr()
	l.lock("taken", []string{"--wait", "300ms"}, "echo no").want(exitNotAcquired, "", "not acquired within 300ms: lock \"taken\": no leader found: ")
}

// Those who wait are told so, and served in turn. A free semaphore is had without
// a word.
func testLockInLine(t *testing.T, l locks) {
	first := l.lock("line", []string{"--owner", "the first"}, "echo $SEMA_TOKEN; "+untilMade+"exit 3")
	first.says("ready\n")
	second := l.lock("line", nil, `echo $SEMA_TOKEN`)
	l.waiting("line", 1)
	third := l.lock("line", []string{"--wait", "30s", "--quiet"}, `echo $SEMA_TOKEN`)
	l.waiting("line", 2)
	first.make()
	token := func(p *locked) uint64 {
		text, _, _ := strings.Cut(p.result().stdout, "\n")
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if a, b, c := token(first), token(second), token(third); a >= b || b >= c {
		t.Errorf("served with the tokens %d, %d, %d", a, b, c)
	}
	first.want(3, fmt.Sprintf("%d\nready\n", token(first)))
	second.want(0, fmt.Sprintf("%d\n", token(second)), `"line" is held by the first since`)
	third.want(0, fmt.Sprintf("%d\n", token(third)))
}

// Who goes away gives the place in line back.
func testLockInterruptedInLine(t *testing.T, l locks) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		name := sig.String()
		l.acquire(name)
		p := l.lock(name, []string{"--quiet"}, "echo no")
		l.waiting(name, 1)
		p.signal(syscall.SIGWINCH) // means nothing yet
		p.signal(sig)
		p.want(128+int(sig), "", fmt.Sprintf("interrupted while waiting for %q", name))
		if n := l.get(name).Waiting; n != 0 {
			t.Errorf("after signal %d, %d still wait", sig, n)
		}
	}
}

// A hold is kept for as long as the command runs.
func testLockKept(t *testing.T, l locks) {
	p := l.lock("kept", []string{"--timeout", "3s", "--wind-down", "100ms"}, untilMade+"exit 4")
	p.says("ready\n")
	first := l.get("kept")
	eventually(t, "the hold is kept for longer than its timeout", func() bool {
		now := l.get("kept")
		if now.Token != first.Token {
			t.Fatalf("it is gone: %+v", now)
		}
		return now.ExpiresAt.Sub(first.ExpiresAt) > 3*time.Second
	})
	p.make()
	p.want(4, "ready\n")
}

// Ctrl-C is the command's business: it may take its time and say what comes of it.
// The hold is released when it has ended.
func testLockInterruptedAtWork(t *testing.T, l locks) {
	p := l.lock("work", nil, `trap 'n=$((n+1)); echo interrupted $n' INT; `+untilMade+"exit 5")
	p.says("ready\n")
	for _, n := range []string{"1", "2", "3"} {
		p.signal(syscall.SIGINT)
		p.says("interrupted " + n + "\n")
	}
	if l.get("work").Token == 0 {
		t.Error("released while the command runs")
	}
	p.make()
	p.want(5, "ready\ninterrupted 1\ninterrupted 2\ninterrupted 3\n")
	l.wantFree("work")

	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := l.lock("work", nil, "echo ready; exec sleep 100")
		p.says("ready\n")
		p.signal(sig)
		p.want(128+int(sig), "ready\n")
		l.wantFree("work")
	}
}

// What was started to ignore SIGHUP ignores it, and so does its command.
func testLockNohup(t *testing.T, l locks) {
	p := l.lockBy([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh"}, "nohup", nil, "kill -HUP $$; "+untilMade+"exit 6")
	p.says("ready\n")
	p.signal(syscall.SIGHUP)
	p.make()
	p.want(6, "ready\n")
}

// An administrator who ends the hold ends the command.
func testLockForced(t *testing.T, l locks) {
	p := l.lock("forced", []string{"--timeout", "8s"}, "trap 'echo told; exit 0' TERM; "+untilMade)
	p.says("ready\n")
	if _, err := l.ForceRelease(within(t), "forced", l.get("forced").Token); err != nil {
		t.Fatal(err)
	}
	p.want(exitLost, "ready\ntold\n", `"forced": `+lostLine)
}

// A command that ended before anybody noticed that its hold was gone may have
// worked beside the next.
func testLockForcedUnnoticed(t *testing.T, l locks) {
	p := l.lock("unnoticed", []string{"--timeout", "1h"}, untilMade+"exit 0")
	p.says("ready\n")
	if _, err := l.ForceRelease(within(t), "unnoticed", l.get("unnoticed").Token); err != nil {
		t.Fatal(err)
	}
	p.make()
	p.want(exitLost, "ready\n", "noticed only now")
}

// A runner that stood still beyond the timeout stops its command as soon as it
// goes on, without a word: somebody else may hold. Until then nothing can.
func testLockStopped(t *testing.T, l locks) {
	p := l.lock("stopped", []string{"--timeout", "3s"}, tree("trap 'echo told' TERM"))
	eventually(t, "the command and its children are ready", func() bool { return strings.Count(p.stdout.String(), "ready\n") == 3 })
	token := l.get("stopped").Token
	p.signal(syscall.SIGSTOP)
	next := l.lock("stopped", []string{"--quiet"}, untilMade)
	next.says("ready\n")
	if now := l.get("stopped").Token; now <= token {
		t.Errorf("token %d came after %d", now, token)
	}
	woken := time.Now()
	p.signal(syscall.SIGCONT)
	p.want(exitLost, "ready\nready\nready\n", `"stopped": `+lostLine)
	if took := time.Since(woken); took > 5*time.Second {
		t.Errorf("it took %v to end", took)
	}
	next.make()
	next.want(0, "ready\n")
}

// What is wrong about a command line is said before anything is done.
func TestLockWrongUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"lock", []string{"want -- between the name and the command", "see semanode lock --help"}},
		{"lock a", []string{"want --"}},
		{"lock a true", []string{"want --"}},
		{"lock a --", []string{"want a command after --"}},
		{"lock -- a true", []string{"want one name before --, got 0"}},
		{"lock a b -- true", []string{"want one name before --, got 2"}},
		{"lock a --color -- true", []string{"unknown flag: --color"}},
		{"lock a --timeout 1ms --wind-down 1ms -- true", []string{`invalid timeout "1ms"`, `; invalid wind-down "1ms": want 10ms to half`}},
		{"lock a --timeout 1s --wind-down 501ms -- true", []string{`invalid wind-down "501ms": want 10ms to half the timeout of 1s`}},
		{"lock a --wait -1ns -- true", []string{`invalid wait "-1ns"`}},
		{"lock a --owner= -- true", []string{`invalid owner ""`}},
		{"lock a --endpoints x -- true", []string{"Endpoints[0]"}},
	} {
		t.Run(tc.args, func(t *testing.T) {
			r := semanode(t, strings.Fields(tc.args)...)
			contains(t, r.fault(t, exitUsage), tc.want...)
		})
	}
}

func TestLockHelp(t *testing.T) {
	t.Parallel()
	help := semanode(t, "lock", "--help").ok(t)
	contains(t, help, "Examples:\n  semanode lock", "--wind-down", "a third of the timeout", "75", "76", "126", "127")
	text, _, _ := strings.Cut(help, "\nFlags:")
	for line := range strings.Lines(text) {
		if len(line) > 81 && !strings.HasPrefix(line, "  semanode ") {
			t.Errorf("a line of %d: %q", len(line)-1, line)
		}
	}
	contains(t, semanode(t, "--help").ok(t), "  lock ")
}
