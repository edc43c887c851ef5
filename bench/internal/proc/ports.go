//go:build unix

package proc

import (
	"errors"
	"net"
)

// FreePorts returns addresses on loopback that nobody listened on a moment ago.
func FreePorts(n int) (addrs []string, err error) {
	var open []net.Listener // all at once, so that all differ
	for range n {
		lis, listenErr := net.Listen("tcp", "127.0.0.1:0")
		if listenErr != nil {
			err = listenErr
			break
		}
		open = append(open, lis)
		addrs = append(addrs, lis.Addr().String())
	}
	for _, lis := range open {
		err = errors.Join(err, lis.Close())
	}
	return addrs, err
}
