package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestMembersFromOneToThreeAndBack does by hand what an operator does: a node joins, is
// listed, leads, another one is removed, and stops with a text that says what to do.
func TestMembersFromOneToThreeAndBack(t *testing.T) {
	c := startNodes(t, 1)
	ask := []string{"--endpoints", c.endpoints()}
	join := func(id string) *process {
		t.Helper()
		grpc := freeAddr()
		p := start(t, "serve", "--id", id, "--data-dir", filepath.Join(c.dir, id), "--raft-addr", freeAddr(), "--grpc-addr", grpc,
			"--join", "127.0.0.1:1,"+c.raft[0], "--log-level", "error") // one that lives is enough
		p.says("is ready")
		return p
	}
	n2, n3 := join("n2"), join("n3")
	members := func() (all membersJSON) {
		t.Helper()
		if err := json.Unmarshal([]byte(semanode(t, append([]string{"members", "-o", "json"}, ask...)...).ok(t)), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	eventually(t, "all three have a vote", func() bool {
		all := members().Members
		return len(all) == 3 && all[0].Voter && all[1].Voter && all[2].Voter
	})
	contains(t, semanode(t, append([]string{"members"}, ask...)...).ok(t), "ID  ", "VOTE", "n1  ", "n2  ", "n3  ", "yes")

	contains(t, semanode(t, append([]string{"transfer-leadership", "n2"}, ask...)...).ok(t), "node n2 leads")
	if text := semanode(t, append([]string{"transfer-leadership", "n2", "-o", "json"}, ask...)...).ok(t); text != `{"leader":"n2"}`+"\n" {
		t.Errorf("got %q", text)
	}
	contains(t, semanode(t, append([]string{"transfer-leadership", "n7"}, ask...)...).fault(t, exitFailed), `"n7" is no member`, "semanode members")
	contains(t, semanode(t, append([]string{"remove", "n7"}, ask...)...).fault(t, exitFailed), `"n7" is no member`)

	contains(t, semanode(t, append([]string{"remove", "n2"}, ask...)...).ok(t), "node n2 is no member any more")
	r := n2.result()
	if r.code != exitRemoved || !strings.Contains(r.stderr, "removed from the cluster") || !strings.Contains(r.stderr, "--join") {
		t.Errorf("a removed node ended with %d and %q", r.code, r.stderr)
	}
	// Started again, it finds out again, and does no harm.
	again := start(t, "serve", "--id", "n2", "--data-dir", filepath.Join(c.dir, "n2"), "--raft-addr", freeAddr(), "--grpc-addr", freeAddr(), "--log-level", "error")
	if r := again.result(); r.code != exitRemoved || !strings.Contains(r.stderr, "removed from the cluster") {
		t.Errorf("a removed node that was started again ended with %d and %q", r.code, r.stderr)
	}

	contains(t, semanode(t, append([]string{"remove", "n3"}, ask...)...).ok(t), "node n3 is no member any more")
	if r := n3.result(); r.code != exitRemoved {
		t.Errorf("a removed node ended with %d", r.code)
	}
	contains(t, semanode(t, append([]string{"remove", "n1"}, ask...)...).fault(t, exitFailed), "the only member with a vote")
	semanode(t, append([]string{"acquire", "a"}, ask...)...).ok(t)
}

func TestMembersRefusesWrongUse(t *testing.T) {
	for _, args := range [][]string{{"remove"}, {"remove", "a", "b"}, {"transfer-leadership", "a", "b"}, {"members", "a"}} {
		if r := semanode(t, args...); r.code != exitUsage {
			t.Errorf("semanode %v: exit code %d, %s", args, r.code, r.stderr)
		}
	}
	both := semanode(t, "serve", "--id", "n1", "--data-dir", t.TempDir(), "--raft-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--peers", "n1=127.0.0.1:7373", "--join", "127.0.0.1:7374", "--log-level", "warn")
	contains(t, both.fault(t, exitUsage), "either peers", "or join")
	any := semanode(t, "serve", "--id", "n1", "--data-dir", t.TempDir(), "--raft-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--join", "nowhere")
	contains(t, any.fault(t, exitUsage), "nowhere", "HOST:PORT")
}
