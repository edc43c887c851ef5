//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// A node that may open fewer files than it may have connections says so when it starts, not
// when there are too many. A low soft limit is none: Go raises it.
func TestFewFilesAreWarnedOf(t *testing.T) {
	if most, known := openFiles(); !known || most < 12_000 {
		t.Skipf("this process may itself open %d files only", most)
	}
	const warning = "may open few files"
	for limit, warned := range map[string]bool{"ulimit -n 500": true, "ulimit -S -n 500": false} {
		t.Run(limit, func(t *testing.T) {
			addr := freeAddr()
			p := startWith(t, []string{"sh", "-c", limit + ` && exec "$0" "$@"`}, nil,
				"serve", "--id", "n1", "--data-dir", filepath.Join(t.TempDir(), "n1"), "--raft-addr", addr, "--peers", "n1="+addr, "--grpc-addr", freeAddr())
			p.says("is ready")
			if said := p.stderr.String(); strings.Contains(said, warning) != warned {
				t.Errorf("warned: %v, want %v", !warned, warned)
			} else if warned && !strings.Contains(said, "limit=500 recommended=12000") {
				t.Errorf("it does not say how many:\n%s", said)
			}
		})
	}
}
