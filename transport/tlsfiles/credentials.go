package tlsfiles

import (
	"context"
	"net"

	"google.golang.org/grpc/credentials"
)

// fileCredentials are gRPC's own for TLS, made anew for every handshake.
type fileCredentials struct {
	files      *Files
	serverName string
}

// ClientHandshake implements [credentials.TransportCredentials].
func (c *fileCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.serverName != "" {
		authority = c.serverName
	}
	return credentials.NewTLS(c.files.Current()).ClientHandshake(ctx, authority, raw)
}

// ServerHandshake implements [credentials.TransportCredentials].
func (c *fileCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(c.files.Server()).ServerHandshake(raw)
}

// Info implements [credentials.TransportCredentials].
func (c *fileCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements [credentials.TransportCredentials].
func (c *fileCredentials) Clone() credentials.TransportCredentials {
	return &fileCredentials{c.files, c.serverName}
}

// OverrideServerName implements [credentials.TransportCredentials].
func (c *fileCredentials) OverrideServerName(name string) error {
	c.serverName = name
	return nil
}
