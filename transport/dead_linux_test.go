package transport

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDeadMachinesAreNoticed: each connection of the raft port, and of the port of clients,
// is watched.
func TestDeadMachinesAreNoticed(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	m := NewMux(MuxConfig{Listener: lis})
	defer m.Close()
	ports := map[string]func(net.Conn) net.Conn{
		"raft": func(raw net.Conn) net.Conn {
			conn, err := m.own(raw)
			if err != nil {
				t.Fatal(err)
			}
			return conn.Conn
		},
		"clients": func(net.Conn) net.Conn {
			clients, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			g := newAdmission(clients, 10, newRefusals(nil), false)
			defer g.Close()
			dialed, err := net.Dial("tcp", clients.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer dialed.Close()
			conn, err := g.Accept()
			if err != nil {
				t.Fatal(err)
			}
			g.strangers.leave(conn.(*admittedConn).place) // it is looked at after the listener has gone
			return conn.(*admittedConn).Conn
		},
	}
	for port, enter := range ports {
		dialed, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn := enter(dialed)
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for option, want := range map[int]int{unix.TCP_KEEPIDLE: 3, unix.TCP_KEEPINTVL: 1, unix.TCP_KEEPCNT: 5, unix.TCP_USER_TIMEOUT: 10_000} {
			var got int
			var fault error
			if err := raw.Control(func(fd uintptr) { got, fault = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option) }); err != nil || fault != nil {
				t.Fatal(err, fault)
			}
			if got != want {
				t.Errorf("%s: option %d is %d, want %d", port, option, got, want)
			}
		}
		conn.Close()
		dialed.Close()
	}
}
