package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is a service manager's end of the socket.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func listenAsManager(t *testing.T, path string) manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return manager{t, conn}
}

// hears returns the next message, and "" if none comes for so long.
func (m manager) hears(within time.Duration) string {
	m.t.Helper()
	must(m.t, m.conn.SetReadDeadline(time.Now().Add(within)))
	buf := make([]byte, 1024)
	n, err := m.conn.Read(buf)
	if err != nil && !os.IsTimeout(err) {
		m.t.Fatal(err)
	}
	return string(buf[:n])
}

// A service manager hears that the node is ready when it has caught up, not when it
// has started, and that it stops before it hands over.
func TestServeNotifies(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "sema") // t.TempDir() may be too long for a socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	paths := []string{filepath.Join(dir, "notify")}
	if runtime.GOOS == "linux" {
		paths = append(paths, fmt.Sprintf("@sema-test-%d", os.Getpid()))
	}
	for _, path := range paths {
		t.Run(path[:1], func(t *testing.T) {
			m := listenAsManager(t, path)
			c := &nodes{t: t, dir: t.TempDir(), raft: []string{freeAddr(), freeAddr()}, grpc: []string{freeAddr(), freeAddr()}, processes: make([]*process, 2)}
			first := startEnv(t, []string{"NOTIFY_SOCKET=" + path}, c.args(0)...)
			cl := c.client()
			eventually(t, "the node answers", func() bool { _, err := cl.Status(t.Context()); return err == nil })
			if early := m.hears(100 * time.Millisecond); early != "" {
				t.Fatalf("without a leader it says %q", early)
			}
			c.start(1)
			if ready := m.hears(patience); !strings.HasPrefix(ready, "READY=1\n") {
				t.Fatalf("with a leader it says %q", ready)
			}
			first.signal(syscall.SIGTERM)
			if stopping := m.hears(patience); !strings.HasPrefix(stopping, "STOPPING=1\n") {
				t.Fatalf("after SIGTERM it says %q", stopping)
			}
			if r := first.result(); r.code != exitDone {
				t.Errorf("ended with %+v", r)
			}
		})
	}
}

// A socket that nobody listens on is told in the log, and the node serves.
func TestServeCannotNotify(t *testing.T) {
	t.Parallel()
	addr := freeAddr()
	p := startEnv(t, []string{"NOTIFY_SOCKET=/nowhere/notify"}, "serve", "--id", "n1", "--data-dir", t.TempDir(), "--peers", "n1="+addr,
		"--raft-addr", addr, "--grpc-addr", "127.0.0.1:0", "--log-level", "error")
	p.says("is ready")
	p.complains("the service manager cannot be told")
	p.signal(syscall.SIGTERM)
	if r := p.result(); r.code != exitDone {
		t.Errorf("ended with %+v", r)
	}
}
