package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Check says what serve would run with, and does nothing: the ports may be taken, and
// the data directory stays unmade.
func TestConfigCheck(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { taken.Close() })
	dir := filepath.Join(t.TempDir(), "never-made")
	path := configFile(t, strings.NewReplacer("/nowhere/semanode", dir, "127.0.0.1:7362", taken.Addr().String()).Replace(wholeConfig))
	out := inside(t, nil, "config", "check", path).ok(t)
	contains(t, out, "KEY", "VALUE", "SOURCE", "\nok\n", dir, path+":3", "default")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory: %v", err)
	}
	if again := inside(t, map[string]string{"SEMANODE_CONFIG": path}, "config", "check").ok(t); again != out {
		t.Errorf("with the file in a variable it says %q", again)
	}
}

// Check and serve refuse the same with the same words, and serve makes nothing.
func TestConfigCheckIsWhatServeDoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "never-made")
	whole := strings.ReplaceAll(wholeConfig, "/nowhere/semanode", dir)
	for _, tc := range []struct {
		name, from, to string
		want           []string
	}{
		{"limit", "election-timeout: 1s", "election-timeout: 1ms", []string{`semanode.yaml:10: invalid election-timeout "1ms": want 10ms or more`}},
		{"value", "election-timeout: 1s", "election-timeout: 1", []string{`semanode.yaml:10: invalid election-timeout "1": `, "missing unit"}},
		{"choice", "log-format: json", "log-format: xml", []string{`semanode.yaml:11: invalid log-format "xml": want text or json`}},
		{"missing", "id: n1\n", "", []string{`invalid id ""`}},
		{"two limits", "election-timeout: 1s", "election-timeout: 1ms\nprocessors: -1", []string{`semanode.yaml:10: invalid election-timeout`, `semanode.yaml:11: invalid processors "-1"`}},
		{"not among the peers", "id: n1", "id: n9", []string{"semanode.yaml:6: invalid peers", `"n9"`}},
		{"peers", "  n2: 127.0.0.1:7374", "  n2: nowhere", []string{`semanode.yaml:6: invalid peers "nowhere"`}},
		{"everything", "id: n1", "iid: n1\nprocessors: many\nlog-level: loud", []string{`:2: unknown key "iid": did you mean "id"?`, `:3: invalid processors "many"`, `:4: invalid log-level "loud"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := configFile(t, strings.Replace(whole, tc.from, tc.to, 1))
			check := inside(t, nil, "config", "check", path).fault(t, exitUsage)
			contains(t, check, tc.want...)
			if serve := inside(t, nil, "serve", "--config", path).fault(t, exitUsage); serve != check {
				t.Errorf("serve says %q, check %q", serve, check)
			}
		})
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the data directory: %v", err)
	}
	contains(t, inside(t, nil, "config", "check", "a", "--config", "b").fault(t, exitUsage), "name one")
	contains(t, inside(t, nil, "config").fault(t, exitUsage), "check or example")
}

// A node starts from nothing but a file, and a variable for what differs on it.
func TestServeFromFile(t *testing.T) {
	t.Parallel()
	addr := freeAddr()
	path := configFile(t, "data-dir: "+filepath.Join(t.TempDir(), "n1")+"\nraft-addr: "+addr+"\ngrpc-addr: 127.0.0.1:0\npeers:\n  n1: "+addr+"\n")
	p := startEnv(t, []string{"SEMANODE_ID=n1", "SEMANODE_CONFIG=" + path, "SEMANODE_ELECTON_TIMEOUT=1s", "SEMANODE_PORT=tcp://10.0.0.1:80"}, "serve")
	p.says("node n1 is ready")
	log := p.stderr.String()
	first, _, _ := strings.Cut(log, "\n")
	contains(t, first, "starting", "version=", "commit=", "go=go1.")
	contains(t, log, "[WARN]", "no setting is called $SEMANODE_ELECTON_TIMEOUT, it is ignored: did you mean $SEMANODE_ELECTION_TIMEOUT?", "$SEMANODE_PORT")
	if strings.Contains(log, "$SEMANODE_ID") || strings.Contains(log, "$SEMANODE_ENDPOINTS") {
		t.Errorf("warns of what it knows: %s", log)
	}
}

// The example has every key, says nothing as it is, and every line of it that is
// commented out can be put in.
func TestConfigExample(t *testing.T) {
	example := inside(t, nil, "config", "example").ok(t)
	flags := newServeCmd().Flags()
	if entries, err := parseConfig("f", []byte(example), flags); err != nil || len(entries) != 0 {
		t.Errorf("as it is: %v, %v", entries, err)
	}
	whole := regexp.MustCompile(`(?m)^#([^ #]| {4})`).ReplaceAll([]byte(example), []byte("$1"))
	entries, err := parseConfig("f", whole, flags)
	must(t, err)
	keys := fileKeys(flags)
	if len(entries) != len(keys) {
		t.Errorf("%d of %d keys in\n%s", len(entries), len(keys), whole)
	}
	for _, e := range entries { // what has a default has it there
		if f := flags.Lookup(e.key); f.DefValue != "" && e.value != f.DefValue {
			t.Errorf("%s: %q, the default is %q", e.key, e.value, f.DefValue)
		}
	}
	if bytes.Contains(whole, []byte("\t")) {
		t.Error("a tab")
	}
}
