package cluster_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/semanode/sema"
	"github.com/semanode/sema/cluster"
)

func FuzzParsePeers(f *testing.F) {
	for _, seed := range []string{"", "n1=10.0.0.1:7373", "n1=a:1,n2=b:2, n3=[::1]:3", "n1", "=a:1", "n1=", ",", "n1=a:1,,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		peers, err := cluster.ParsePeers(list)
		if err != nil {
			if !errors.Is(err, sema.ErrInvalid) {
				t.Fatalf("%q: %v", list, err)
			}
			return
		}
		if want := strings.Count(list, ",") + 1; list != "" && len(peers) != want {
			t.Fatalf("%q: %d peers, want %d", list, len(peers), want)
		}
	})
}

func TestConfigNamesEveryFault(t *testing.T) {
	err := cluster.Config{ID: "a b", RaftAddr: "nowhere", GRPCAddr: "x", ElectionTimeout: 1, WatchdogTimeout: -1,
		Peers: []cluster.Peer{{ID: "n1", Addr: ":1"}, {ID: "n1", Addr: "h:0"}}}.Validate()
	for _, field := range []string{"invalid id", "raft-addr", "grpc-addr", "data-dir", "election-timeout", "watchdog-timeout", `peers ":1"`, `peers "h:0"`, "each id once"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("fault of %s is not told: %v", field, err)
		}
	}
}
