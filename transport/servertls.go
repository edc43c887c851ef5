package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"google.golang.org/grpc/credentials"
)

// tellingCreds are credentials of a server that log who was turned away. gRPC tells nobody.
type tellingCreds struct {
	credentials.TransportCredentials
	refusals *refusals
}

// ServerHandshake implements [credentials.TransportCredentials].
func (c tellingCreds) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	shaking := &shakingConn{Conn: raw}
	conn, info, err := c.TransportCredentials.ServerHandshake(shaking)
	if err == nil {
		shaking.shaken = true
		return conn, info, nil
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) { // probes, and what the gate closed
		c.refusals.tell("turned away a client", "from", raw.RemoteAddr(), "reason", clientFault(err))
		linger(raw, err)
	}
	_ = raw.Close()
	return nil, nil, err
}

// shakingConn is not closed by a handshake that fails.
type shakingConn struct {
	net.Conn
	shaken bool // set before anybody else has it
}

// Close implements [net.Conn].
func (c *shakingConn) Close() error {
	if !c.shaken {
		return nil
	}
	return c.Conn.Close()
}

// How long, and how much, a client that was turned away is listened to.
var lingerTime = 250 * time.Millisecond // for tests to change

const lingerBytes = 64 << 10

// linger waits until a client that was refused in the handshake hangs up. With TLS 1.3 it
// may think that the handshake has succeeded, and be sending already: to close the
// connection with that unread would reset it, and the client would not learn from the
// alert why it was refused, but find a broken pipe.
func linger(raw net.Conn, why error) {
	var plain tls.RecordHeaderError
	if errors.As(why, &plain) || errors.Is(why, os.ErrDeadlineExceeded) {
		return // it was sent nothing that it could read, or had its time
	}
	if raw.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, raw, lingerBytes)
	}
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
