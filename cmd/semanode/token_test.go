package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/semanode/sema/access"
)

// TestTokens makes a token, puts what it says into an access file, and uses it: in a file and
// in the environment, and without it nothing is shown.
func TestTokens(t *testing.T) {
	made := semanode(t, "token", "new", "worker")
	token, err := access.ParseToken(strings.TrimSpace(made.stdout))
	if err != nil {
		t.Fatal(err)
	}
	_, line, found := strings.Cut(made.stderr, "identities:\n")
	if !found || !strings.Contains(line, token.Hash().String()) || strings.Contains(made.stderr, string(token)) {
		t.Fatalf("says\n%s", made.stderr)
	}
	dir := t.TempDir()
	file, tokenFile := filepath.Join(dir, "access.yaml"), filepath.Join(dir, "token")
	for path, text := range map[string]string{
		file:      "identities:\n" + line + "rules: [{who: [worker], names: [jobs/], rights: [acquire, read]}]\n",
		tokenFile: string(token) + "\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := startNodes(t, 1, "--access-file", file)
	sh := shell{t, c.grpc[0]}
	sh.run("acquire", "jobs/1", "--token-file", tokenFile).ok(t)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"get", "jobs/1"}, "not identified"},
		{[]string{"acquire", "other", "--token-file", tokenFile}, `lacks the right "acquire" on "other"`},
		{[]string{"members", "--token-file", filepath.Join(dir, "none")}, "no such file"},
	} {
		if r := sh.run(tc.args...); r.code == 0 || !strings.Contains(r.stderr, tc.want) {
			t.Errorf("%q ended with %d and %q, want %q", tc.args, r.code, r.stderr, tc.want)
		}
	}
	if r := semanode(t, "token", "new", "a b"); r.code != exitUsage {
		t.Errorf("a bad name: %+v", r)
	}
}

// The faults of an access file are told with those of the other settings, before anything
// is opened.
func TestConfigCheckReadsTheAccessFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte("identities: []\nrulse: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := semanode(t, "config", "check", "--id", "n1", "--data-dir", t.TempDir(), "--raft-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0",
		"--peers", "n1=127.0.0.1:7373", "--access-file", file)
	contains(t, r.fault(t, exitUsage), "access.yaml", "rulse")
}
