package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a config file may look like, and what its flags get.
func TestConfigValues(t *testing.T) {
	for _, tc := range []struct{ name, text, key, want string }{
		{"word", "id: n1", "id", "n1"},
		{"number", "processors: 3", "processors", "3"},
		{"quoted", `cluster-name: "* 1"`, "cluster-name", "* 1"},
		{"text", "peers: n1=a:1,n2=b:2", "peers", "n1=a:1,n2=b:2"},
		{"sequence", "peers:\n  - n1=a:1\n  - n2=b:2", "peers", "n1=a:1,n2=b:2"},
		{"mapping", "peers:\n  n1: a:1\n  n2: b:2", "peers", "n1=a:1,n2=b:2"},
		{"on one line", "{id: n1, peers: {n1: 'a:1'}}", "peers", "n1=a:1"},
		{"JSON", `{"id": "n1"}`, "id", "n1"},
		{"CRLF", "# c\r\nid: n1\r\n", "id", "n1"},
		{"byte order mark", "\ufeffid: n1\n", "id", "n1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			entries, err := parseConfig("f", []byte(tc.text), newServeCmd().Flags())
			must(t, err)
			for _, e := range entries {
				if e.key == tc.key && e.value == tc.want {
					return
				}
			}
			t.Errorf("got %+v", entries)
		})
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "~"} {
		if entries, err := parseConfig("f", []byte(empty), newServeCmd().Flags()); err != nil || len(entries) != 0 {
			t.Errorf("%q: %v, %v", empty, entries, err)
		}
	}
}

// What is wrong with a config file is told with its line, all of it at once.
func TestConfigFaults(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "id: n1\nelecton-timeout: 1s", []string{`f:2: unknown key "electon-timeout": did you mean "election-timeout"?`}},
		{"another spelling", "dataDir: d\nraft_addr: a:1", []string{`f:1: unknown key "dataDir": did you mean "data-dir"?`, `f:2: unknown key "raft_addr": did you mean "raft-addr"?`}},
		{"nothing like it", "colour: red", []string{`f:1: unknown key "colour"`}},
		{"no setting", "config: g\nhelp: true", []string{`f:1: unknown key "config"`, `f:2: unknown key "help"`}},
		{"a long key", strings.Repeat("x", 1000) + ": 1", []string{"(1000 bytes)"}},
		{"twice", "id: n1\npeers: x\nid: n2", []string{`f:3: "id" is in line 1 already`}},
		{"several", "id: n1\nid: n2\nx: 1\nlog-level:\nlog-format: [a]", []string{"f:2: ", `f:3: unknown key "x"`, "f:4: invalid log-level: no value", "f:5: invalid log-format: want a single value"}},
		{"a list in a list", "peers: [[a]]", []string{"f:1: invalid peers: line 1: want a single value"}},
		{"a comma", "peers:\n  - n1=a:1\n  - n2=b:2,n3=c:3", []string{"f:2: invalid peers: line 3: a comma"}},
		{"an = in an id", "peers: {a=b: c:1}", []string{"f:1: invalid peers: line 1: a key with ="}},
		{"key of keys", "? {a: b}\n: c", []string{"f:1: this is no key"}},
		{"an alias", "id: &x n1\ncluster-name: *x", []string{"f:2: invalid cluster-name: an alias"}},
		{"an unknown alias", "id: *x", []string{"f: a value that begins with *"}},
		{"a tag", "id: !!str n1", []string{"f:1: invalid id: a tag"}},
		{"a merge", "<<: {id: n1}", []string{`f:1: unknown key "<<"`}},
		{"a list of all", "- id", []string{"f:1: want a setting in each line"}},
		{"a word", "id", []string{"f:1: want a setting in each line"}},
		{"two documents", "id: n1\n---\nid: n2", []string{"a second document begins here"}},
		{"no YAML", "id: n1\n\tpeers: x", []string{"f:"}},
		{"an open bracket", "peers: [", []string{"f:"}},
		{"no text", "id: \x00", []string{"f: control characters are not allowed"}},
		{"no UTF-8", "id: \xff", []string{"f: "}},
		{"depth", "peers: " + strings.Repeat("[", 20000), []string{"f:"}},
		{"billions", "id: &a [x,x]\npeers: &b [*a,*a]\ncluster-name: [*b,*b]", []string{"f:1: invalid id", "f:2: invalid peers", "an alias"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parseConfig("f", []byte(tc.text), newServeCmd().Flags())
			if err == nil {
				t.Fatal("no fault")
			}
			contains(t, err.Error(), tc.want...)
		})
	}
}

// A file that cannot be a config file is refused before it is read through.
func TestConfigFileCannotBeRead(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big.yaml")
	must(t, os.WriteFile(big, []byte("#"+strings.Repeat("x", maxConfigBytes)), 0o600))
	for path, want := range map[string]string{
		big:                   "more than 1048576 bytes",
		t.TempDir():           "is a directory",
		big + ".not":          "no such file",
		"/dev/zero":           "more than 1048576 bytes",
		filepath.Dir(big):     "cannot be read",
		configFile(t, "x: 1"): `unknown key "x"`,
	} {
		contains(t, inside(t, nil, "serve", "--config", path).fault(t, exitUsage), want, path)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"id", "data-dir", "raft-addr", "grpc-addr", "election-timeout", "log-level", "log-store"}
	for word, want := range map[string]string{
		"electon-timeout": "election-timeout", "ELECTION_TIMEOUT": "election-timeout", "datadir": "data-dir", "raft-adr": "raft-addr",
		"log-levle": "log-level", "loglvel": "log-level", "idd": "id", "quorum": "", "": "id", strings.Repeat("data-dir", 100): "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest to %.20q is %q, want %q", word, got, want)
		}
	}
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "xabc", 1}, {"kitten", "sitting", 3}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("from %q to %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

// Whatever is in a config file: the reader returns, a fault or entries with known keys
// and lines of the file, each key once, and what it reads it reads again from a file
// that it would write.
func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{wholeConfig, "", "---\n...\n---", "id: [", "? [a]\n: b", "id: &a n1\npeers: *a", "<<: {id: x}", "peers: {n1: a:1}\n",
		"\ufeffid: n1\r\n", "id: !!binary eA==", "{id: 'n1', id: n2}", "peers:\n- a=b:1\n- c=d:2", "%YAML 1.1\n---\nid: x", "id: |\n  a\n  b\n", "a: &x [*x]", "\xff\xfe", "- - - - -"} {
		f.Add([]byte(seed))
	}
	flags := newServeCmd().Flags()
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			t.Skip("long")
		}
		entries, err := parseConfig("f", data, flags)
		if err != nil {
			if err.Error() == "" || errors.Unwrap(err) == err {
				t.Errorf("an error without a word")
			}
			return
		}
		seen := map[string]bool{}
		for _, e := range entries {
			if flags.Lookup(e.key) == nil || seen[e.key] || e.line < 1 || e.line > strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(data)), "\n")+1 {
				t.Errorf("entry %+v of %q", e, data)
			}
			seen[e.key] = true
		}
	})
}
