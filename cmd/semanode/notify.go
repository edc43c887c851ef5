package main

import (
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
)

// What a service manager is told, see sd_notify(3).
const (
	sayReady    = "READY=1\nSTATUS=has caught up with the leader and serves"
	sayStopping = "STOPPING=1\nSTATUS=handing over and stopping"
)

// notify tells the service manager that started this process, if it wants to know
// ($NOTIFY_SOCKET), how far the process is. A manager that cannot be told is no reason
// to stop serving: it is logged, and systemd will do what its unit says about a service
// that never became ready.
func notify(log hclog.Logger, state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if err := send(path, state); err != nil {
		log.Error("the service manager cannot be told how far this node is", "socket", path, "error", err)
	}
}

// send sends one datagram to a socket of the file system or, with an @ at the
// beginning, an abstract one.
func send(path, state string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil { // its queue may be full
		return err
	}
	_, err = conn.Write([]byte(state))
	return err
}
