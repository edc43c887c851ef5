package transport

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout is for what was sent: keepalive is silent as long as something is under way.
func setUserTimeout(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return // closed already
	}
	_ = raw.Control(func(fd uintptr) { // without it, the system gives up later
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout/time.Millisecond))
	})
}
