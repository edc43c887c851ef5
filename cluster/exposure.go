package cluster

import (
	"errors"
	"net"
	"strconv"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// validateExposure refuses ports that anybody could use whom the network lets through.
func (c Config) validateExposure() error {
	var errs []error
	if c.MaxConns < 0 {
		errs = append(errs, invalid("max-conns", strconv.Itoa(c.MaxConns), "0 (10000) or more"))
	}
	if c.PeerTLS != nil {
		if err := transport.CheckNodeTLS(c.PeerTLS()); err != nil {
			errs = append(errs, invalid("peer-tls", "", "TLS for a node: "+err.Error()))
		}
	}
	if c.Insecure {
		return errors.Join(errs...)
	}
	for _, port := range c.exposed() {
		errs = append(errs, &sema.InvalidError{Field: port.field, Value: port.addr, Limit: "TLS (" + port.flag + ") where others than this machine can connect, " +
			"or --insecure if whoever reaches the port may do everything"})
	}
	return errors.Join(errs...)
}

// exposedPort is a port without TLS that others than this machine may reach.
type exposedPort struct{ field, addr, flag, may string }

func (c Config) exposed() (ports []exposedPort) {
	if c.Host.Network != nil { // it is not the machine's
		return nil
	}
	if c.PeerTLS == nil && beyondLoopback(c.RaftAddr) {
		ports = append(ports, exposedPort{"raft-addr", c.RaftAddr, "--peer-tls-ca", "change everything"})
	}
	if c.TLS == nil && c.GRPCAddr != "" && beyondLoopback(c.GRPCAddr) {
		ports = append(ports, exposedPort{"grpc-addr", c.GRPCAddr, "--tls-cert", "take and release everything"})
	}
	return ports
}

// beyondLoopback reports whether others than this machine may reach an address. A name
// that has to be looked up may mean anything; an address that cannot be read is another
// fault.
func beyondLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}
