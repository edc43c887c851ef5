//go:build !linux

package transport

import "net"

// setUserTimeout is for Linux: elsewhere the system gives up later.
func setUserTimeout(*net.TCPConn) {}
