package transport

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// hangUpOnTheDead makes writes to a machine that vanished fail after a while.
func hangUpOnTheDead(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // closed already
	}
	_ = raw.Control(func(fd uintptr) { // without it, keepalive finds out later
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout/time.Millisecond))
	})
}
