package memnet_test

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/semanode/sema/testcluster/internal/gate"
	"github.com/semanode/sema/testcluster/internal/memnet"
)

// What Go asks of every net.Conn, in real time.
func TestConnectionsAreWhatGoExpects(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		n := memnet.New(memnet.Latency{}, 1)
		c1, c2 = connect(t, n.Host("a", new(gate.Gate)), n.Host("b", new(gate.Gate)), "b:1")
		return c1, c2, func() { _ = n.Close() }, nil
	})
}
