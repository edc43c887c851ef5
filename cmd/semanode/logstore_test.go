package main

import (
	"testing"
)

// A node's log is moved while the node is stopped, and only then.
func TestConvertLogStore(t *testing.T) {
	t.Parallel()
	dir, addr := t.TempDir(), freeAddr()
	serve := []string{"serve", "--id", "n1", "--data-dir", dir, "--raft-addr", addr, "--grpc-addr", "127.0.0.1:0", "--peers", "n1=" + addr, "--log-level", "off"}
	p := start(t, append(serve, "--log-store", "boltdb")...)
	p.says("is ready")
	convert := []string{"log-store", "convert", "--data-dir", dir, "--to", "wal"}
	contains(t, semanode(t, convert...).fault(t, exitFailed), "in use by another process")
	p.kill()
	contains(t, semanode(t, append(serve, "--log-store", "wal")...).fault(t, exitFailed),
		"keeps its log in boltdb, not in wal", "semanode log-store convert --data-dir "+dir+" --to wal")
	for range 2 { // the second time there is nothing to do
		contains(t, semanode(t, convert...).ok(t), "the log in "+dir+" is in wal")
	}
	start(t, append(serve, "--log-store", "wal")...).says("is ready")
}
