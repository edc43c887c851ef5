package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/semanode/sema"
)

// inside runs the program in this process, in an environment of its own.
func inside(t testing.TB, env map[string]string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append([]string{"semanode"}, args...), strings.NewReader(""), &stdout, &stderr, func(name string) string { return env[name] })
	return result{code, stdout.String(), stderr.String()}
}

// configFile writes a config file and returns its path.
func configFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "semanode.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// checked is what "config check" says of each key.
func checked(t testing.TB, env map[string]string, args ...string) map[string]settingJSON {
	t.Helper()
	var answer struct {
		OK       bool
		Settings []settingJSON
	}
	must(t, json.Unmarshal([]byte(inside(t, env, append([]string{"config", "check", "-o", "json"}, args...)...).ok(t)), &answer))
	if !answer.OK {
		t.Error("it is not ok")
	}
	settings := map[string]settingJSON{}
	for _, s := range answer.Settings {
		settings[s.Key] = s
	}
	return settings
}

const wholeConfig = `# a node
id: n1
data-dir: /nowhere/semanode
raft-addr: 127.0.0.1:7373
grpc-addr: 127.0.0.1:7362
peers:
  n1: 127.0.0.1:7373
  n2: 127.0.0.1:7374
cluster-name: from-file
election-timeout: 1s
log-format: json
`

// A flag counts more than its variable, that more than the file, and that more than
// the default; and it can be seen which of them it was.
func TestPrecedence(t *testing.T) {
	path := configFile(t, wholeConfig)
	env := map[string]string{"SEMANODE_CLUSTER_NAME": "from-variable", "SEMANODE_ELECTION_TIMEOUT": "2s", "SEMANODE_LOG_FORMAT": "", "SEMANODE_CONFIG": path}
	got := checked(t, env, "--cluster-name", "from-flag")
	for _, want := range []settingJSON{
		{"cluster-name", "from-flag", "flag"},
		{"election-timeout", "2s", "$SEMANODE_ELECTION_TIMEOUT"},
		{"log-format", "json", path + ":11"}, // an empty variable is none
		{"peers", "n1=127.0.0.1:7373,n2=127.0.0.1:7374", path + ":6"},
		{"log-level", "info", "default"},
	} {
		if got[want.Key] != want {
			t.Errorf("%+v, want %+v", got[want.Key], want)
		}
	}
	if len(got) < 10 {
		t.Errorf("only %d keys", len(got))
	}
}

// Every flag of every command is set by its variable, those that nobody has thought of
// yet too, unless the table says why not.
func TestEveryFlagHasAVariable(t *testing.T) {
	seen := 0
	for cmd := range commands(newRootCmd("semanode")) {
		cmd.SetContext(t.Context())
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name == configFlag {
				return // is read, see TestPrecedence
			}
			seen++
			value := other(t, f)
			env := func(name string) string { return map[string]string{envName(f.Name): value}[name] }
			before := f.Value.String()
			must(t, settle(cmd, env))
			switch set := f.Changed && strings.Trim(f.Value.String(), "[]") == value; { // lists have brackets
			case set != (flagOnly(cmd, f.Name) == ""):
				t.Errorf("%s --%s: set by $%s to %q: %v, but flagOnly says %q", cmd.CommandPath(), f.Name, envName(f.Name), f.Value, set, flagOnly(cmd, f.Name))
			case !set && f.Value.String() != before:
				t.Errorf("%s --%s went from %q to %q", cmd.CommandPath(), f.Name, before, f.Value)
			}
		})
	}
	if seen < 50 {
		t.Errorf("saw only %d flags", seen)
	}
	for _, only := range flagsOnly {
		if only.why == "" {
			t.Errorf("no reason for --%s", only.flag)
		}
	}
}

// other is a value that a flag does not have.
func other(t *testing.T, f *pflag.Flag) string {
	if c, ok := f.Value.(*choice); ok {
		for _, word := range c.among {
			if word != c.value {
				return word
			}
		}
	}
	switch kind := f.Value.Type(); kind {
	case "bool":
		return map[string]string{"true": "false", "false": "true"}[f.Value.String()]
	case "duration":
		return "7m0s"
	case "int", "uint64", "float64", "uint32", "uint", "int64":
		return "7"
	case "string", "stringSlice":
		return "127.0.0.1:7"
	default:
		t.Fatalf("--%s is of a type that this test does not know: %s", f.Name, kind)
		return ""
	}
}

// What is wrong with a variable names the variable, all of them at once, and before
// anything is sent. A flag makes a bad variable harmless.
func TestBadVariables(t *testing.T) {
	env := map[string]string{"SEMANODE_RPC_TIMEOUT": "soon", "SEMANODE_OUTPUT": "xml", "SEMANODE_LINE": "many", "SEMANODE_ENDPOINTS": "127.0.0.1:1"}
	contains(t, inside(t, env, "get", "a").fault(t, exitUsage),
		`$SEMANODE_RPC_TIMEOUT: invalid rpc-timeout "soon"`, `$SEMANODE_OUTPUT: invalid output "xml": want text or json`, `$SEMANODE_LINE: invalid line "many"`)
	contains(t, inside(t, map[string]string{"SEMANODE_TIMEOUT": "1ms"}, "acquire", "a").fault(t, exitUsage), `$SEMANODE_TIMEOUT: invalid timeout "1ms": want 100ms`)
	contains(t, inside(t, map[string]string{"SEMANODE_TIMEOUT": "1ms"}, "acquire", "a", "--timeout", "2ms").fault(t, exitUsage), `invalid timeout "2ms"`)
	contains(t, inside(t, map[string]string{"SEMANODE_WAIT": "-1s"}, "acquire", "a").fault(t, exitUsage), `$SEMANODE_WAIT: invalid wait "-1s"`)
	contains(t, inside(t, map[string]string{"SEMANODE_ENDPOINTS": "nowhere"}, "get", "a").fault(t, exitUsage), `$SEMANODE_ENDPOINTS: invalid Endpoints[0] "nowhere"`)
	contains(t, inside(t, map[string]string{"SEMANODE_NODES": "0"}, "dev").fault(t, exitUsage), `$SEMANODE_NODES: invalid nodes "0"`)
	contains(t, inside(t, map[string]string{"SEMANODE_FORCE": "true"}, "release", "a").fault(t, exitUsage), "--token") // force is not taken from there
}

// A fault of a setting says where the setting is, also among others, and nothing else
// about an error changes.
func TestLocate(t *testing.T) {
	s := &settings{places: map[string]string{"id": "f.yaml:1", "peers": "$SEMANODE_PEERS", "raft-addr": fromFlag}}
	invalid := func(field string) error { return &sema.InvalidError{Field: field, Value: "v", Limit: "l"} }
	joined := errors.Join(invalid("id"), nil, errors.Join(invalid("peers"), invalid("raft-addr")), io.EOF)
	got := s.locate(joined)
	want := `f.yaml:1: invalid id "v": want l` + "\n" + `$SEMANODE_PEERS: invalid peers "v": want l` + "\n" + `invalid raft-addr "v": want l` + "\nEOF"
	if got.Error() != want || !errors.Is(got, sema.ErrInvalid) || !errors.Is(got, io.EOF) {
		t.Errorf("got %q", got)
	}
	if err := usagef("%w; %w", invalid("id"), io.EOF); s.locate(err).Error() != "f.yaml:1: "+err.Error() && s.locate(err) != err {
		t.Errorf("got %q", s.locate(err))
	}
}

// Values that are secret by their names are shown nowhere.
func TestSecretsAreNotShown(t *testing.T) {
	cmd := &cobra.Command{Use: "x", Run: func(*cobra.Command, []string) {}}
	flags := cmd.Flags()
	flags.String("api-token", "", "a `TOKEN`")
	flags.String("tls-key", "", "a `FILE`")
	flags.Int("key-size", 0, "")
	for name, want := range map[string]bool{"api-token": true, "tls-key": false, "key-size": false} {
		if got := secret(flags.Lookup(name)); got != want {
			t.Errorf("%s is secret: %v", name, got)
		}
	}
	must(t, flags.Set("api-token", "hunter2"))
	must(t, flags.Set("tls-key", "/etc/key.pem"))
	for _, json := range []bool{false, true} {
		var out bytes.Buffer
		must(t, printer{&out, json}.settings(flags, &settings{}))
		contains(t, out.String(), "(secret)", "/etc/key.pem")
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("shows %s", out.String())
		}
	}
	picky := &choice{among: []string{"a"}}
	flags.Var(picky, "admin-token", "a `TOKEN`")
	err := (&settings{places: map[string]string{}}).set(flags, flags.Lookup("admin-token"), "hunter2", "$X")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	// The library's own words about what it takes for an alias.
	if _, err := parseConfig("f", []byte("api-token: *hunter2\n"), flags); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
