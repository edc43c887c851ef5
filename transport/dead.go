package transport

import (
	"net"
	"time"
)

// userTimeout is how long what was sent may stay without an acknowledgement of the machine
// that it was sent to. gRPC sets it, too, where it sees a [net.TCPConn].
const userTimeout = 10 * time.Second

// hangUpOnTheDead has reads and writes fail when the other machine has vanished, as with a
// power cut, which tells nobody: within some eight seconds, where the default is minutes.
// A follower that is being sent a snapshot reads in raft's main loop, and votes for nobody
// meanwhile.
func hangUpOnTheDead(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	// Closed already, if it fails.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 3 * time.Second, Interval: time.Second, Count: 5})
	setUserTimeout(tcp)
}
