package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What dev tells to try works as it stands, and nothing is left behind.
func TestDev(t *testing.T) {
	t.Parallel()
	if lis, err := net.Listen("tcp", defaultEndpoint); err == nil {
		defer lis.Close() // it must go elsewhere, as it must if this port was taken already
	}
	temp := t.TempDir()
	p := startEnv(t, []string{"TMPDIR=" + temp}, "dev")
	p.says("semanode list")
	text := p.stdout.String()
	if len(contents(t, temp)) == 0 {
		t.Error("its state is somewhere else")
	}
	tries := regexp.MustCompile(`(?m)^  semanode (.+)$`).FindAllStringSubmatch(text, -1)
	codes := map[string]int{"acquire printer --owner bob": exitOtherwise}
	for _, try := range tries {
		if strings.Contains(text, "  "+defaultEndpoint+"\n") == strings.Contains(try[1], "--endpoints") {
			t.Errorf("the wrong endpoints in %s", try[0])
		}
		args := strings.Fields(try[1])
		command, _, _ := strings.Cut(try[1], " --endpoints")
		if r := semanode(t, args...); r.code != codes[command] || r.stdout == "" {
			t.Errorf("%s: %+v", try[0], r)
		}
	}
	if len(tries) < 5 {
		t.Errorf("too little to try in\n%s", text)
	}
	began := time.Now()
	p.signal(syscall.SIGINT)
	if r := p.result(); r.code != exitDone || r.stderr != "" {
		t.Errorf("after Ctrl-C: %+v", r)
	}
	took := time.Since(began)
	t.Logf("Ctrl-C took %v", took)
	if took > 5*time.Second {
		t.Errorf("Ctrl-C took %v", took)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// With --data-dir a cluster goes on where it ended, with as many nodes as it
// was founded with.
func TestDevKeepsItsState(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "dev")
	p, endpoints := startDev(t, "--nodes", "2", "--data-dir", dir)
	contains(t, p.stdout.String(), "\n  n2  ", "Its state stays in "+dir)
	_, mine := shell{t, endpoints}.json("acquire", "a", "--timeout", "1h")
	p.signal(syscall.SIGTERM)
	if r := p.result(); r.code != exitDone {
		t.Errorf("after SIGTERM: %+v", r)
	}
	before := contents(t, dir)
	contains(t, semanode(t, "dev", "--nodes", "3", "--data-dir", dir).fault(t, exitUsage), dir+" holds a cluster of 2 nodes, not 3", "leave out --nodes")
	contains(t, semanode(t, "dev", "--data-dir", filepath.Join(dir, "n1")).fault(t, exitUsage), "belongs to a single node")
	unchanged(t, before, contents(t, dir))

	_, endpoints = startDev(t, "--data-dir", dir)
	if n := strings.Count(endpoints, ","); n != 1 {
		t.Errorf("%d nodes came back of 2", n+1)
	}
	if _, held := (shell{t, endpoints}).json("get", "a"); held["holderToken"] != mine["token"] {
		t.Errorf("%v came back as %v", mine, held)
	}
	contains(t, semanode(t, "dev", "--data-dir", dir).fault(t, exitFailed), "node n1: ", "address already in use")
}

// A directory below which there are nodes of another cluster is not dev's.
func TestDevInAForeignDirectory(t *testing.T) {
	t.Parallel()
	dir := oneNode(t)
	before := contents(t, dir)
	contains(t, semanode(t, "dev", "--data-dir", filepath.Dir(dir)).fault(t, exitFailed), "node n1: ", "belongs to the cluster")
	unchanged(t, before, contents(t, dir))
}
