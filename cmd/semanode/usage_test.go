package main

import (
	"strings"
	"testing"
)

// Everything that is wrong about a command line is said in one line, with exit
// code 2, before anything is sent or made.
func TestWrongUsage(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 513)
	serve := []string{"serve", "--id", "n1", "--data-dir", t.TempDir() + "/never-made", "--raft-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--log-level", "warn"}
	with := func(args ...string) []string { return append(serve[:len(serve):len(serve)], args...) }
	for _, tc := range []struct {
		name string
		args []string
		want []string // in the line
	}{
		{"unknown command", []string{"acquir", "a"}, []string{`unknown command "acquir"`, "Did you mean this? acquire", "see semanode --help"}},
		{"unknown flag", []string{"acquire", "a", "--color"}, []string{"unknown flag: --color", "see semanode acquire --help"}},
		{"unknown argument", []string{"status", "n1"}, []string{`"n1"`, "see semanode status --help"}},
		{"unknown shell", []string{"completion", "bash", "csh"}, []string{`"csh"`}},
		{"no name", []string{"get"}, []string{"accepts 1 arg(s), received 0"}},
		{"two names", []string{"acquire", "a", "b"}, []string{"accepts 1 arg(s), received 2"}},
		{"two prefixes", []string{"list", "a", "b"}, []string{"accepts at most 1 arg(s), received 2"}},
		{"empty name", []string{"acquire", ""}, []string{`invalid name ""`, "1 to 512 bytes"}},
		{"long name", []string{"get", long}, []string{"invalid name", "(513 bytes)", "1 to 512 bytes"}},
		{"control character", []string{"touch", "a\nb", "--token", "1"}, []string{`invalid name "a\nb"`}},
		{"long prefix", []string{"list", long}, []string{"invalid prefix"}},
		{"empty owner", []string{"acquire", "a", "--owner", ""}, []string{`invalid owner ""`, "1 to 256 bytes"}},
		{"short timeout", []string{"acquire", "a", "--timeout", "99ms"}, []string{`invalid timeout "99ms"`, "100ms to 168h"}},
		{"long timeout", []string{"acquire", "a", "--timeout", "169h"}, []string{`invalid timeout "169h0m0s"`}},
		{"all of these", []string{"acquire", "", "--owner", "", "--timeout", "0"}, []string{"invalid name", "; invalid owner", "; invalid timeout"}},
		{"no duration", []string{"acquire", "a", "--timeout", "soon"}, []string{`"soon"`, "--timeout"}},
		{"touch without token", []string{"touch", "a"}, []string{"--token"}},
		{"release without token", []string{"release", "a"}, []string{"--token"}},
		{"token 0", []string{"release", "a", "--force", "--token", "0"}, []string{"--token"}},
		{"no number", []string{"touch", "a", "--token", "-1"}, []string{`"-1"`, "--token"}},
		{"unknown output", []string{"get", "a", "-o", "xml"}, []string{`"xml"`, "want text or json"}},
		{"no time", []string{"get", "a", "--rpc-timeout", "0s"}, []string{`invalid rpc-timeout "0s"`}},
		{"no endpoints", []string{"get", "a", "--endpoints", ""}, []string{"Endpoints["}},
		{"empty endpoint", []string{"get", "a", "--endpoints", "127.0.0.1:1,"}, []string{"Endpoints["}},
		{"no port", []string{"get", "a", "--endpoints", "127.0.0.1"}, []string{"Endpoints[", "127.0.0.1"}},
		{"unknown mode", []string{"bench", "--mode", "spin"}, []string{`"spin"`, "want cycle or handoff or poll"}},
		{"no load", []string{"bench", "--workers", "0", "--duration", "0s", "--warmup", "-1s", "--rate", "-1", "--clients", "0", "--timeout", "0s", "--rpc-timeout", "0s"},
			[]string{`invalid workers "0": want 1 to 100000`, "; invalid duration", "; invalid warmup", "; invalid rate", "; invalid clients", "; invalid timeout", "; invalid rpc-timeout"}},
		{"too much load", []string{"bench", "--workers", "100001", "--duration", "25h", "--rate", "1e7"}, []string{`invalid workers "100001"`, "; invalid duration", "; invalid rate"}},
		{"no rate", []string{"bench", "--rate", "NaN"}, []string{`invalid rate "NaN"`}},
		{"more clients than workers", []string{"bench", "--workers", "2", "--clients", "3"}, []string{`invalid clients "3"`}},
		{"bench where", []string{"bench", "--endpoints", ""}, []string{"Endpoints["}},

		{"serve without flags", []string{"serve"}, []string{"invalid grpc-addr", "; invalid id", "; invalid raft-addr", "; invalid data-dir"}},
		{"fewer processors than none", with("--processors", "-1"), []string{`invalid processors "-1": want 0 or more`}},
		{"two faults", with("--id", "n/1", "--peers", "n1"), []string{`invalid peers "n1"`, `; invalid id "n/1"`}},
		{"no port to listen on", with("--raft-addr", "localhost"), []string{`invalid raft-addr "localhost"`, "HOST:PORT"}},
		{"empty peer", with("--peers", "n1=127.0.0.1:1,,n2=127.0.0.1:2"), []string{`invalid peers ""`, "ID=HOST:PORT"}},
		{"repeated peer", with("--peers", "n1=127.0.0.1:1,n1=127.0.0.1:2"), []string{`invalid peers "n1"`, "each id once"}},
		{"repeated address", with("--peers", "n1=127.0.0.1:1,n2=127.0.0.1:1"), []string{`invalid peers "127.0.0.1:1"`, "each address once"}},
		{"not among the peers", with("--peers", "n2=127.0.0.1:1,n3=127.0.0.1:2"), []string{"invalid peers", `with this node, "n1", in it`}},
		{"peer without id", with("--peers", "127.0.0.1:1"), []string{`invalid peers "127.0.0.1:1"`}},
		{"no peers to found with", with(), []string{"peers"}},
		{"short election", with("--peers", "n1=127.0.0.1:1", "--election-timeout", "1ms"), []string{`invalid election-timeout "1ms"`}},
		{"unknown level", with("--log-level", "loud"), []string{`"loud"`, "want trace or debug or info"}},

		{"a port for everybody", with("--raft-addr", "0.0.0.0:0", "--grpc-addr", ":0", "--peers", "n1=127.0.0.1:1"), []string{`invalid raft-addr "0.0.0.0:0"`, "--peer-tls-ca", `invalid grpc-addr ":0"`, "--tls-cert", "--insecure"}},
		{"an authority alone", with("--tls-client-ca", "ca.pem"), []string{"--tls-client-ca needs --tls-cert"}},
		{"a peer's certificate alone", with("--peer-tls-cert", "n1.pem"), []string{"need --peer-tls-ca"}},
		{"a client's certificate alone", []string{"get", "a", "--tls-cert", "c.pem"}, []string{"need --tls-ca"}},
		{"cert alone", []string{"cert"}, []string{"ca, node, client or show"}},
		{"a node without name", []string{"cert", "node"}, []string{"accepts 1 arg(s), received 0"}},
		{"a node called ca", []string{"cert", "node", "ca"}, []string{`invalid name "ca"`}},
		{"a client that is a path", []string{"cert", "client", "../a"}, []string{`invalid name "../a"`}},
		{"a moment's certificate", []string{"cert", "ca", "--validity", "1s"}, []string{`invalid validity "1s"`}},

		{"unknown log store", with("--log-store", "tape"), []string{`"tape"`, "want wal or boltdb"}},
		{"no log to convert", []string{"log-store", "convert", "--to", "wal"}, []string{"--data-dir"}},
		{"no store to convert to", []string{"log-store", "convert", "--data-dir", "d"}, []string{"--to"}},
		{"snapshot alone", []string{"snapshot"}, []string{"save, inspect or restore"}},
		{"no file to save to", []string{"snapshot", "save"}, []string{"accepts 1 arg(s), received 0"}},
		{"whom to ask, and nobody", []string{"snapshot", "save", "f", "--data-dir", "d", "--stale"}, []string{"--data-dir asks nobody"}},
		{"restore without flags", []string{"snapshot", "restore", "f"}, []string{"invalid id", "; invalid data-dir", "; invalid peers"}},
		{"restore as nobody", []string{"snapshot", "restore", "f", "--id", "n9", "--data-dir", "d", "--peers", "n1=127.0.0.1:1"}, []string{`with this node, "n9", in it`}},
		{"restore a generation too far", []string{"snapshot", "restore", "f", "--id", "n1", "--data-dir", "d", "--peers", "n1=127.0.0.1:1", "--generation", "524288"}, []string{`invalid generation "524288"`}},
		{"log-store alone", []string{"log-store"}, []string{"convert"}},

		{"no nodes", []string{"dev", "--nodes", "0"}, []string{`invalid nodes "0"`, "1 to 9"}},
		{"ten nodes", []string{"dev", "--nodes", "10"}, []string{`invalid nodes "10"`}},
		{"two nodes cannot lose one", []string{"demo", "--nodes", "2"}, []string{`invalid nodes "2"`, "3 to 9"}},
		{"short demo", []string{"demo", "--duration", "1ms"}, []string{"invalid duration", "1s or more"}},
		{"no workers", []string{"demo", "--workers", "0"}, []string{`invalid workers "0"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := semanode(t, tc.args...)
			contains(t, r.fault(t, exitUsage), tc.want...)
			if r.stdout != "" {
				t.Errorf("printed %q", r.stdout)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	help := semanode(t, "--help").ok(t)
	contains(t, help, "Use a cluster:", "acquire", "Run a cluster:", "demo", "Exit codes: 0 done")
	if alone := semanode(t).ok(t); alone != help {
		t.Errorf("without arguments it prints %q, not its help", alone)
	}
	for _, cmd := range []string{"acquire", "touch", "release", "get", "list", "status", "bench", "serve", "dev", "demo", "version", "config check", "config example",
		"snapshot", "snapshot save", "snapshot inspect", "snapshot restore", "members", "remove", "transfer-leadership", "cert"} {
		help := semanode(t, append(strings.Fields(cmd), "--help")...).ok(t)
		contains(t, help, "Examples:\n  semanode "+cmd, "Flags:")
		text, _, _ := strings.Cut(help, "\nFlags:")
		for line := range strings.Lines(text) {
			if len(line) > 81 && !strings.HasPrefix(line, "  semanode ") { // examples are to be copied
				t.Errorf("a line of %d: %q", len(line)-1, line)
			}
		}
	}
	contains(t, semanode(t, "version").ok(t), "semanode ", " go1.")
	contains(t, semanode(t, "completion", "bash").ok(t), "__start_semanode")
	contains(t, semanode(t, "__complete", "get", "a", "-o", "").stdout, "text\njson\n")
}
