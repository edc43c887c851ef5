package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc/credentials"
)

// tellingCreds are credentials of a server that log who was turned away. gRPC tells nobody.
type tellingCreds struct {
	credentials.TransportCredentials
	refusals *refusals
}

// ServerHandshake implements [credentials.TransportCredentials].
func (c tellingCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) { // probes, and what the gate closed
		c.refusals.tell("turned away a client", "from", raw.RemoteAddr(), "reason", clientFault(err))
	}
	return conn, info, err
}

// Clone implements [credentials.TransportCredentials].
func (c tellingCreds) Clone() credentials.TransportCredentials {
	return tellingCreds{c.TransportCredentials.Clone(), c.refusals}
}

func clientFault(err error) error {
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) {
		return errors.New("it does not speak TLS: clients need --tls-ca")
	}
	return fmt.Errorf("TLS handshake: %w", err)
}
