package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// restore makes a new cluster of a backup, in directories and at addresses of its own,
// and starts it.
func (c *nodes) restore(file string, more ...string) *nodes {
	c.t.Helper()
	fresh := &nodes{t: c.t, dir: c.t.TempDir(), processes: make([]*process, len(c.processes))}
	for range fresh.processes {
		fresh.raft = append(fresh.raft, freeAddr())
		fresh.grpc = append(fresh.grpc, freeAddr())
	}
	for i := range fresh.processes {
		args := append([]string{"snapshot", "restore", file, "--id", localID(i), "--data-dir", filepath.Join(fresh.dir, localID(i)), "--peers", fresh.peers()}, more...)
		contains(c.t, semanode(c.t, args...).ok(c.t), localID(i)+" in ", "tokens from ", "Was anything else restored before?", "--generation above the highest")
	}
	fresh.startAll()
	return fresh
}

// A backup of a cluster of processes, from the command line to the new cluster.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 3)
	file := filepath.Join(t.TempDir(), "sema.backup")
	semanode(t, "acquire", "job", "--owner", "alice", "--timeout", "1h", "--endpoints", c.endpoints()).ok(t)
	semanode(t, "acquire", "task", "--owner", "bob", "--timeout", "2h", "--endpoints", c.endpoints()).ok(t)
	save := []string{"snapshot", "save", file, "--endpoints", c.endpoints()}
	contains(t, semanode(t, save...).ok(t), "holds:", "2", "(leader)", "sha256:", "last token:")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	contains(t, semanode(t, save...).fault(t, exitUsage), file+" is there already", "--force")
	semanode(t, append(save, "--force")...).ok(t)
	onlyFile(t, file)

	piped := semanode(t, "snapshot", "save", "-", "--endpoints", c.grpc[1], "-o", "json")
	var told backupJSON
	if err := json.Unmarshal([]byte(piped.stderr), &told); err != nil || told.Holds != 2 || told.Bytes != int64(len(piped.stdout)) || piped.code != 0 {
		t.Errorf("to stdout: code %d, %d bytes, %q, %v", piped.code, len(piped.stdout), piped.stderr, err)
	}

	var b backupJSON
	if err := json.Unmarshal([]byte(semanode(t, "snapshot", "inspect", file, "--holds", "-o", "json").ok(t)), &b); err != nil {
		t.Fatal(err)
	}
	if b.Holds != 2 || len(*b.Semaphores) != 2 || (*b.Semaphores)[0].Name != "job" || (*b.Semaphores)[0].Owner != "alice" || len(b.Members) != 3 || b.LastToken != "2" {
		t.Errorf("inspect: %+v", b)
	}
	contains(t, semanode(t, "snapshot", "inspect", file, "--holds").ok(t), "NAME", "job", "alice", "1h0m0s", b.FirstToken)

	fresh := c.restore(file)
	got := semanode(t, "get", "job", "--endpoints", fresh.endpoints(), "-o", "json").ok(t)
	contains(t, got, `"owner":"alice"`, `"holderToken":"1"`)
	next := semanode(t, "acquire", "new", "--endpoints", fresh.endpoints(), "-o", "json").ok(t)
	contains(t, next, `"token":"`+b.FirstToken+`"`)

	second := filepath.Join(t.TempDir(), "second.backup") // and the same again
	semanode(t, "snapshot", "save", second, "--endpoints", fresh.endpoints()).ok(t)
	again := fresh.restore(second, "--drop-holds")
	if out := semanode(t, "list", "--endpoints", again.endpoints(), "-o", "json").ok(t); !strings.Contains(out, `"semaphores":[]`) {
		t.Errorf("without holds there are %s", out)
	}
	contains(t, semanode(t, "acquire", "job", "--endpoints", again.endpoints(), "-o", "json").ok(t), fmt.Sprintf(`"token":"%d"`, 2<<44+1))
}

// onlyFile checks that nothing is left beside a file.
func onlyFile(t testing.TB, file string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside %s: %v, %v", file, entries, err)
	}
}

// Two of three nodes are lost with their disks. What docs/backup.md says to do then
// brings back everything that was acknowledged, and tokens rise.
func TestQuorumIsLost(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 3)
	cl := c.client()
	held := map[string]uint64{}
	var highest uint64
	for i := range 50 {
		name := "job/" + strconv.Itoa(i)
		info, err := cl.Acquire(within(t), name, "alice", time.Hour)
		if err != nil || info.Status != sema.Acquired {
			t.Fatalf("%+v, %v", info, err)
		}
		held[name], highest = info.Token, info.Token
	}
	c.whole(cl) // else what is lost may be all that two had and the third had not
	c.killAll()
	for i := range 2 {
		if err := os.RemoveAll(filepath.Join(c.dir, localID(i))); err != nil {
			t.Fatal(err)
		}
	}
	c.start(2)
	alone := semanode(t, "snapshot", "save", filepath.Join(t.TempDir(), "x"), "--endpoints", c.grpc[2], "--rpc-timeout", "2s")
	contains(t, alone.fault(t, exitFailed), "no leader")
	c.processes[2].kill()

	file := filepath.Join(t.TempDir(), "survivor.backup")
	contains(t, semanode(t, "snapshot", "save", file, "--data-dir", filepath.Join(c.dir, "n3")).ok(t), "(directory)", "50")
	fresh := c.restore(file)
	fc := fresh.client()
	page, err := fc.List(within(t), transport.ListRequest{Limit: transport.MaxPageSize})
	if err != nil || len(page.Infos) != len(held) {
		t.Fatalf("%d of %d holds are there: %v", len(page.Infos), len(held), err)
	}
	for _, info := range page.Infos {
		if held[info.Name] != info.Token {
			t.Errorf("%s has token %d, had %d", info.Name, info.Token, held[info.Name])
		}
	}
	if info, err := fc.Acquire(within(t), "next", "bob", time.Minute); err != nil || info.Token <= highest {
		t.Errorf("token %d after %d, %v", info.Token, highest, err)
	}
	if _, err := fc.TouchToken(within(t), "job/7", held["job/7"]); err != nil {
		t.Errorf("a holder's touch: %v", err)
	}
}

// A file that is not whole is refused by inspect and restore, with a reason.
func TestSnapshotRefused(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 1)
	dir := t.TempDir()
	file := filepath.Join(dir, "sema.backup")
	semanode(t, "snapshot", "save", file, "--endpoints", c.endpoints()).ok(t)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped, next := bytes.Clone(data), bytes.Clone(data)
	flipped[len(flipped)-40] ^= 4
	next[11] = 9
	for _, tc := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "something else, or empty", nil},
		{"cut", "ends too early", data[:len(data)-7]},
		{"flipped", "", flipped},
		{"longer", "goes on after its end", append(bytes.Clone(data), 'x')},
		{"next version", "format version 9", next},
		{"something else", "something else, or empty", []byte("#!/bin/sh\nexit 0\n")},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(tc.name, " ", "-"))
		if err := os.WriteFile(path, tc.data, 0o600); err != nil {
			t.Fatal(err)
		}
		contains(t, semanode(t, "snapshot", "inspect", path).fault(t, exitFailed), path, tc.want)
		target := filepath.Join(dir, "restored")
		line := semanode(t, "snapshot", "restore", path, "--id", "n1", "--data-dir", target, "--peers", "n1=127.0.0.1:7373").fault(t, exitFailed)
		contains(t, line, path+" was not restored", tc.want)
		if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s was made: %v", tc.name, target, err)
		}
	}
	contains(t, semanode(t, "snapshot", "inspect", filepath.Join(dir, "none")).fault(t, exitFailed), "no such file")
	contains(t, semanode(t, "snapshot", "save", filepath.Join(dir, "x"), "--data-dir", dir).fault(t, exitFailed), "not a node's data directory")
}

// A backup that does not come to its end leaves no file: nobody answers, the node dies in
// the middle of it, Ctrl-C.
func TestSnapshotBreaksOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "sema.backup")
	contains(t, semanode(t, "snapshot", "save", file, "--endpoints", freeAddr(), "--rpc-timeout", "300ms").fault(t, exitFailed), "no leader found")

	c := startNodes(t, 1)
	cl := c.client()
	for i := range 700 { // some 200 KB
		if _, err := cl.Acquire(within(t), fmt.Sprintf("job/%d", i), strings.Repeat("o", 256), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range []string{"the node dies", "Ctrl-C"} {
		stops := newValve(t, c.grpc[0], 100<<10)
		p := start(t, "snapshot", "save", file, "--endpoints", stops.addr)
		eventually(t, "a part of the backup is there", func() bool {
			parts, err := filepath.Glob(file + ".tmp-*")
			if err != nil || len(parts) != 1 || !stops.full() {
				return false
			}
			info, err := os.Stat(parts[0])
			return err == nil && info.Size() > 0
		})
		if how == "Ctrl-C" {
			p.signal(syscall.SIGINT)
			contains(t, p.result().fault(t, exitFailed), "interrupted")
		} else {
			stops.cut()
			contains(t, p.result().fault(t, exitFailed), "the backup broke off after", "take it again")
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: left are %v, %v", how, left, err)
		}
	}
	semanode(t, "snapshot", "save", file, "--endpoints", c.endpoints()).ok(t)
	onlyFile(t, file)
}

// valve is a proxy that lets so many bytes of answers through.
type valve struct {
	addr   string
	closed chan struct{} // when so many have come
	cut    func()        // ends the connection, and all to come
}

func newValve(t testing.TB, to string, most int64) *valve {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{addr: lis.Addr().String(), closed: make(chan struct{})}
	done := make(chan struct{})
	server := make(chan net.Conn, 2)
	go func() {
		defer close(done)
		down, err := lis.Accept()
		if err != nil {
			return
		}
		defer down.Close()
		up, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer up.Close()
		server <- down
		server <- up
		asked := make(chan struct{})
		go func() { defer close(asked); _, _ = io.Copy(up, down) }()
		_, _ = io.CopyN(down, up, most)
		close(v.closed)
		<-asked // until one of the two is closed
	}()
	v.cut = func() {
		lis.Close()
		for {
			select {
			case conn := <-server:
				conn.Close()
			case <-done:
				return
			}
		}
	}
	t.Cleanup(v.cut)
	return v
}

func (v *valve) full() bool {
	select {
	case <-v.closed:
		return true
	default:
		return false
	}
}
