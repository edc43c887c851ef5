package main

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
)

// A node that cannot start says why and what to do, in one line, and leaves what
// it found as it was.
func TestServeCannotStart(t *testing.T) {
	t.Parallel()
	dir := oneNode(t)
	const peers = "n1=127.0.0.1:7001"
	serve := func(dataDir string, more ...string) []string {
		return append([]string{"serve", "--id", "n1", "--data-dir", dataDir, "--raft-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--peers", peers, "--log-level", "warn"}, more...)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })

	for _, tc := range []struct {
		name string
		harm func(t *testing.T, dir string)
		args []string // more of them; the last one counts
		want []string
	}{
		{"raft address in use", nil, []string{"--raft-addr", taken.Addr().String()}, []string{"raft address", taken.Addr().String(), "address already in use"}},
		{"grpc address in use", nil, []string{"--grpc-addr", taken.Addr().String()}, []string{"grpc address", taken.Addr().String(), "address already in use"}},
		{"another node's directory", nil, []string{"--id", "n2", "--peers", "n2=127.0.0.1:7001"}, []string{`belongs to node "n1"`, `"n2"`}},
		{"another cluster's name", nil, []string{"--cluster-name", "other"}, []string{"belongs to the cluster", `"other"`}},
		{"another cluster's peers", nil, []string{"--peers", peers + ",n2=127.0.0.1:7002"}, []string{"was founded by " + peers, "use another directory"}},
		{"something else's directory", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "node.json")))
		}, nil, []string{"not a node's directory"}},
		{"corrupt founding record", harm("node.json", func(data []byte) []byte { return data[:len(data)/2] }), nil, []string{"node.json is damaged"}},
		{"corrupt snapshot", harm("snapshots/*/state.bin", flip), nil, []string{"snapshot ", "damaged"}},
		{"short snapshot", harm("snapshots/*/state.bin", func(data []byte) []byte { return data[:len(data)-1] }), nil, []string{"snapshot ", "damaged"}},
		{"corrupt snapshot description", harm("snapshots/*/meta.json", func([]byte) []byte { return []byte("{") }), nil, []string{"snapshot ", "meta.json is damaged"}},
		{"corrupt log", harm("wal/*.wal", func(data []byte) []byte {
			data[300] ^= 1
			return data
		}), nil, []string{"the log", ".wal is damaged behind byte"}},
		{"cut log", harm("wal/*.wal", func(data []byte) []byte { return data[:len(data)/2] }), nil, []string{"the log", ".wal was cut"}},
		{"lost segment", func(t *testing.T, dir string) {
			must(t, os.RemoveAll(filepath.Join(dir, "wal")))
		}, nil, []string{"the log", ".wal is missing"}},
		{"corrupt votes", harm("raft.db", func(data []byte) []byte {
			copy(data[2*os.Getpagesize():], bytes.Repeat([]byte{0xff}, len(data)))
			return data
		}), nil, []string{"log", "raft.db"}},
		{"no votes", harm("raft.db", func(data []byte) []byte { return bytes.Repeat([]byte("sema"), len(data)/4) }), nil, []string{"the log", "raft.db cannot be opened"}},
		{"cut votes", harm("raft.db", func(data []byte) []byte { return data[:3*os.Getpagesize()] }), nil, []string{"log", "raft.db"}},
		{"lost log", func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "raft.db")))
			must(t, os.RemoveAll(filepath.Join(dir, "snapshots")))
		}, nil, []string{"has lost its log"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			copied := filepath.Join(t.TempDir(), "n1")
			must(t, os.CopyFS(copied, os.DirFS(dir)))
			if tc.harm != nil {
				tc.harm(t, copied)
			}
			before := contents(t, copied)
			r := semanode(t, serve(copied, tc.args...)...)
			contains(t, r.fault(t, exitFailed), tc.want...)
			unchanged(t, before, contents(t, copied))
		})
	}

	t.Run("unwritable directory", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(file, nil, 0o600))
		contains(t, semanode(t, serve(filepath.Join(file, "n1"))...).fault(t, exitFailed), "data directory", file, "not a directory")
	})
	t.Run("directory in use", func(t *testing.T) {
		p := start(t, serve(dir)...)
		p.says("is ready")
		contains(t, semanode(t, serve(dir)...).fault(t, exitFailed), "in use by another process")
	})
}

// oneNode returns the data directory of a node n1 that runs no more, with a
// snapshot and entries after it.
func oneNode(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "n1")
	ctx := within(t)
	node, err := cluster.Open(ctx, cluster.Config{ID: "n1", DataDir: dir, RaftAddr: "127.0.0.1:0", Peers: []cluster.Peer{{ID: "n1", Addr: "127.0.0.1:7001"}},
		ElectionTimeout: 50 * time.Millisecond, SnapshotInterval: 10 * time.Millisecond, SnapshotThreshold: 100, TrailingLogs: 10})
	must(t, err)
	must(t, node.WaitLeader(ctx))
	owner := strings.Repeat("o", sema.MaxOwnerBytes)
	eventually(t, "a snapshot is written", func() bool {
		_, err := node.Acquire(ctx, "a", owner, time.Hour)
		must(t, err)
		must(t, node.Release(ctx, "a"))
		found, err := filepath.Glob(filepath.Join(dir, "snapshots", "*-*-*[0-9]", "state.bin"))
		must(t, err)
		return len(found) > 0
	})
	_, err = node.Acquire(ctx, "a", owner, time.Hour)
	must(t, err)
	must(t, node.Close())
	return dir
}

// harm returns what replaces the content of a node's files.
func harm(pattern string, replace func([]byte) []byte) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, path := range found {
			data, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, replace(data), 0o600))
		}
	}
}

// flip turns one bit in the middle.
func flip(data []byte) []byte {
	data[len(data)/2] ^= 1
	return data
}

// contents returns every file below a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(data)
		return err
	}))
	return files
}

func unchanged(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path := range maps.Keys(before) {
		if data, ok := after[path]; !ok || data != before[path] {
			t.Errorf("%s was changed or removed", path)
		}
	}
	for path := range maps.Keys(after) {
		if _, ok := before[path]; !ok {
			t.Errorf("%s was made", path)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A node alone: it says one line, stops on SIGTERM, and knows on the next start
// what it was founded with.
func TestServeAlone(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 1)
	if out := c.processes[0].stdout.String(); out != "node n1 is ready: clients at "+c.grpc[0]+", nodes at "+c.raft[0]+"\n" {
		t.Errorf("it says %q", out)
	}
	sh := shell{t, c.endpoints()}
	_, mine := sh.json("acquire", "a", "--timeout", "1h")
	began := time.Now()
	c.processes[0].signal(syscall.SIGTERM)
	if r := c.processes[0].result(); r.code != exitDone || r.stderr != "" {
		t.Errorf("after SIGTERM: %+v", r)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}

	again := start(t, "serve", "--id", "n1", "--data-dir", filepath.Join(c.dir, "n1"), "--raft-addr", c.raft[0], "--grpc-addr", c.grpc[0],
		"--log-format", "json", "--log-level", "info")
	again.says("is ready")
	if _, held := sh.json("get", "a"); held["holderToken"] != mine["token"] {
		t.Errorf("%v came back as %v", mine, held)
	}
	again.signal(syscall.SIGINT)
	r := again.result()
	if r.code != exitDone {
		t.Errorf("after SIGINT: %+v", r)
	}
	for line := range strings.Lines(r.stderr) {
		contains(t, line, `"@level":"`, `"@timestamp":"`)
	}
	contains(t, r.stderr, `"@message":"stopping"`)
}

// A second signal does not wait for what the first one began.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	c := startNodes(t, 3)
	leader := c.leader(c.client())
	for i, p := range c.processes { // so that there is something to wait for
		if i != leader {
			p.signal(syscall.SIGSTOP)
		}
	}
	p := c.processes[leader]
	p.signal(syscall.SIGTERM)
	p.signal(syscall.SIGINT)
	if r := p.result(); r.code != exitFailed {
		t.Errorf("after two signals: %+v", r)
	}
}

// A node waits for the others before it is ready, and can be told to stop
// meanwhile.
func TestServeWithoutQuorum(t *testing.T) {
	t.Parallel()
	c := &nodes{t: t, dir: t.TempDir(), raft: []string{freeAddr(), freeAddr()}, grpc: []string{freeAddr(), freeAddr()}, processes: make([]*process, 2)}
	c.start(0)
	cl := c.client()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := cl.Status(ctx); err != nil { // it answers
		t.Fatal(err)
	}
	r := semanode(t, "status", "--endpoints", c.endpoints())
	contains(t, r.fault(t, exitFailed), "no leader: 1 of 2 nodes can be reached", c.grpc[0])
	contains(t, r.stdout, "\nn1  ", "\nn2  unreachable")
	contains(t, semanode(t, "get", "a", "--endpoints", c.endpoints(), "--rpc-timeout", "1s").fault(t, exitFailed), "no leader", c.grpc[0], c.grpc[1])
	c.processes[0].signal(syscall.SIGTERM)
	if r := c.processes[0].result(); r.code != exitDone || r.stdout != "" {
		t.Errorf("without a leader: %+v", r)
	}
}
