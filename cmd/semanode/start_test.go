package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/semanode/sema/cluster"
)

// A node whose log nobody reads any more goes on, and writes what it has to say to nobody.
func TestServeOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	addr := freeAddr()
	p := prepare(t, nil, nil, "serve", "--id", "n1", "--data-dir", filepath.Join(t.TempDir(), "n1"), "--raft-addr", addr, "--grpc-addr", "127.0.0.1:0", "--peers", "n1="+addr)
	p.cmd.Stderr = brokenPipe(t)
	p.begin()
	p.says("is ready")
	p.signal(syscall.SIGTERM)
	if r := p.result(); r.code != exitDone {
		t.Errorf("it ended with %d", r.code)
	}
}

// SIGHUP while a node is starting does not end it.
func TestServeTakesHangupsFromTheBeginning(t *testing.T) {
	h := takeHangups() // not parallel: the signal is for the whole process
	defer h.stop()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.came <- <-h.came // it is kept until the files are open
	h.reload(&serveTLS{})
	eventually(t, "it is acted on", func() bool { return len(h.came) == 0 })
}

// A group of commands without one of them is wrong usage, not a call for help.
func TestGroupsNeedACommand(t *testing.T) {
	t.Parallel()
	for _, cmd := range newRootCmd("semanode").Commands() {
		if cmd.HasSubCommands() {
			for _, args := range [][]string{{cmd.Name()}, {cmd.Name(), "nonesuch", "x"}} {
				inside(t, nil, args...).fault(t, exitUsage)
			}
		}
	}
}

// What is wrong with files, ports and variables is found before a node starts.
func TestConfigCheckFindsMore(t *testing.T) {
	base := []string{"config", "check", "--id", "n1", "--data-dir", "d", "--raft-addr", "127.0.0.1:1", "--grpc-addr", "127.0.0.1:2", "--peers", "n1=127.0.0.1:1"}
	for _, more := range [][]string{{"--tls-cert", "/nowhere.pem", "--tls-key", "/nowhere-key.pem"}, {"--access-file", "/nowhere.yaml"},
		{"--metrics-addr", "127.0.0.1:seven"}, {"--metrics-addr", "127.0.0.1:99999"}, {"--pprof-addr", "127.0.0.1:x"}} {
		inside(t, nil, append(base[:len(base):len(base)], more...)...).fault(t, exitUsage)
	}
	t.Setenv("SEMANODE_ELECTON_TIMEOUT", "1s")
	if r := inside(t, nil, base...); r.code != exitDone || !strings.Contains(r.stderr, "SEMANODE_ELECTION_TIMEOUT") {
		t.Errorf("a misspelt variable: %+v", r)
	}
}

// Variables for other commands neither forbid a backup nor choose what it is taken from.
func TestVariablesLeaveBackupsAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "x")
	r := inside(t, map[string]string{"SEMANODE_ENDPOINTS": "127.0.0.1:1"}, "snapshot", "save", file, "--data-dir", filepath.Join(dir, "n"))
	if text := r.fault(t, exitFailed); strings.Contains(text, "asks nobody") {
		t.Error(text)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0") // who is asked, and never answers
	must(t, err)
	defer lis.Close()
	r = inside(t, map[string]string{"SEMANODE_DATA_DIR": filepath.Join(dir, "n")}, "snapshot", "save", file, "--rpc-timeout", "100ms", "--endpoints", lis.Addr().String())
	if text := r.fault(t, exitFailed); strings.Contains(text, dir+"/n") {
		t.Error(text)
	}
	contains(t, inside(t, nil, "snapshot", "save", file, "--data-dir", dir, "--endpoints", "a:1").fault(t, exitUsage), "asks nobody")
}

func TestARemovedNodeHasAnExitCode(t *testing.T) {
	t.Parallel()
	if code := exitCode(fmt.Errorf("node n1 ended: %w", cluster.ErrRemoved)); code != exitRemoved {
		t.Errorf("it exits with %d", code)
	}
}
