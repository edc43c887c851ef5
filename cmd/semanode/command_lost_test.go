//go:build unix

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema/client"
)

// With all nodes gone the command is stopped in time, though nobody is there who
// could give the semaphore away.
func TestLockWithoutCluster(t *testing.T) {
	t.Parallel()
	l := startLocks(t, 3)
	p := l.lock("a", []string{"--timeout", "5s"}, tree("trap '' TERM"))
	eventually(t, "the command and its children are ready", func() bool { return strings.Count(p.stdout.String(), "ready\n") == 3 })
	l.nodes.killAll()
	gone := time.Now()
	p.want(exitLost, "ready\nready\nready\n", `"a": `+lostLine)
	if took := time.Since(gone); took >= 5*time.Second { // the last touch was before that
		t.Errorf("stopped %v after the nodes had gone, want less than 5s", took)
	}
}

// A command that ended while its runner stood still ended nobody knows when: if the
// hold is gone by then, it is lost, whether or not the cluster can be asked.
func TestLockEndsWhileTheRunnerStandsStill(t *testing.T) {
	t.Parallel()
	l := startLocks(t, 1)
	p := l.lock("a", []string{"--timeout", "3s"}, "echo pid $$; "+untilMade+"exit 4")
	p.says("ready\n")
	p.signal(syscall.SIGSTOP)
	stopped := time.Now()
	l.nodes.killAll()
	p.make()
	eventually(t, "the timeout has passed", func() bool { return time.Since(stopped) > 3*time.Second })
	p.signal(syscall.SIGCONT)
	p.want(exitLost, "ready\n", `"a": the hold was lost`)
}

// A hold that cannot be released is no fault of the command.
func TestLockNotReleased(t *testing.T) {
	t.Parallel()
	l := startLocks(t, 1)
	p := l.lock("a", []string{"--timeout", "4s", "--wind-down", "100ms"}, untilMade+"exit 4")
	p.says("ready\n")
	l.nodes.killAll()
	p.make()
	p.want(4, "ready\n", `"a" could not be released and frees itself within 4s: `)
}

// The promise: the command is gone before the hold can pass. The runner is cut off
// from a cluster that goes on, and somebody waits in line. The command and its
// children write to a file as fast as they can and do not obey.
func TestLockPassesAfterTheCommandIsGone(t *testing.T) {
	t.Parallel()
	l := startLocks(t, 1)
	wire := startWire(t, l.endpoints)
	l.endpoints = wire.addr()
	each := `trap '' TERM; echo ready; while :; do echo x >>"$1"; done`
	p := l.lock("a", []string{"--timeout", "5s"}, fmt.Sprintf("((%[1]s) & %[1]s) & %[1]s", each))
	eventually(t, "the command and its children are ready", func() bool { return strings.Count(p.stdout.String(), "ready\n") == 3 })
	token := l.get("a").Token

	wire.cut()
	next, err := l.Lock(within(t), "a", client.LockOptions{Owner: "next"})
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.Stat(p.file)
	if err != nil {
		t.Fatal(err)
	}
	p.want(exitLost, "ready\nready\nready\n", `"a": `+lostLine)
	ahead := next.Info().CreatedAt.Sub(written.ModTime())
	t.Logf("the last line was written %v before the hold passed", ahead)
	if ahead <= 0 {
		t.Errorf("the command wrote until %v, and the hold passed at %v", written.ModTime(), next.Info().CreatedAt)
	}
	if later, err := os.Stat(p.file); err != nil || later.Size() != written.Size() {
		t.Errorf("the command went on to write after the hold had passed: %d bytes, then %v, %v", written.Size(), later.Size(), err)
	}
	if next.Token() <= token {
		t.Errorf("token %d came after %d", next.Token(), token)
	}
}

// wire is a connection to a node that can be cut.
type wire struct {
	net.Listener
	mu    sync.Mutex
	ends  []net.Conn
	isCut bool
	tasks sync.WaitGroup
}

func startWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: listener}
	w.tasks.Go(func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", to)
			if err != nil || !w.add(here, there) {
				here.Close()
				continue
			}
			w.tasks.Go(func() { _, _ = io.Copy(here, there) })
			w.tasks.Go(func() { _, _ = io.Copy(there, here) })
		}
	})
	t.Cleanup(w.cut)
	return w
}

func (w *wire) addr() string { return w.Addr().String() }

func (w *wire) add(ends ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, ends...)
	return !w.isCut
}

// cut cuts it for good.
func (w *wire) cut() {
	w.Close()
	w.mu.Lock()
	w.isCut = true
	for _, end := range w.ends {
		end.Close()
	}
	w.mu.Unlock()
	w.tasks.Wait()
}
