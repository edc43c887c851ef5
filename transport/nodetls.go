package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
)

// NodeName is the DNS name that the certificate of every node has among its subject
// alternative names. Nodes verify it in place of a host name, so that their addresses may
// change, and a client's certificate of the same authority opens no raft port. (Consul
// does so with server.<datacenter>.consul.)
const NodeName = "node.sema"

// nodeProtocol is told in the handshake between nodes (ALPN), so that nobody can be made
// to take one of Sema's ports for something else.
const nodeProtocol = "sema-node"

// CheckNode returns an error that says why a certificate, whoever signed it, is not one for
// a node.
func CheckNode(cert *x509.Certificate) error {
	var errs []error
	if err := cert.VerifyHostname(NodeName); err != nil {
		errs = append(errs, fmt.Errorf("the name %s is not among its subject alternative names", NodeName))
	}
	if !serves(cert, x509.ExtKeyUsageServerAuth) {
		errs = append(errs, errors.New("it is not for server authentication"))
	}
	if !serves(cert, x509.ExtKeyUsageClientAuth) {
		errs = append(errs, errors.New("it is not for client authentication"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the certificate of %q is not one of a node (semanode cert node makes them): %w", cert.Subject, err)
	}
	return nil
}

// serves reports whether a certificate may be used like that. One without any extended key
// usage may be used for all.
func serves(cert *x509.Certificate, usage x509.ExtKeyUsage) bool {
	return len(cert.ExtKeyUsage) == 0 && len(cert.UnknownExtKeyUsage) == 0 ||
		slices.Contains(cert.ExtKeyUsage, usage) || slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageAny)
}

// CheckNodeTLS returns an error that says why nodes cannot speak to each other by this
// configuration: see [MuxConfig.TLS].
func CheckNodeTLS(c *tls.Config) error {
	var errs []error
	if c == nil {
		return errors.New("there is none")
	}
	if c.RootCAs == nil { // which would mean all that the operating system trusts
		errs = append(errs, errors.New("it has no RootCAs, the authority of the nodes"))
	}
	switch {
	case len(c.Certificates) > 0:
		leaf := c.Certificates[0].Leaf
		var err error
		if leaf == nil && len(c.Certificates[0].Certificate) > 0 {
			leaf, err = x509.ParseCertificate(c.Certificates[0].Certificate[0])
		}
		if err == nil && leaf != nil {
			err = CheckNode(leaf)
		}
		errs = append(errs, err)
	case c.GetCertificate == nil || c.GetClientCertificate == nil:
		errs = append(errs, errors.New("it has no certificate"))
	}
	return errors.Join(errs...)
}

// nodeTLS is what both sides of a connection between nodes have in common: nothing that is
// configured can make it less than mutual.
func nodeTLS(current func() *tls.Config) (*tls.Config, error) {
	c := current()
	if c == nil || c.RootCAs == nil {
		return nil, errors.New("no TLS configuration with RootCAs for connections between nodes")
	}
	c = c.Clone()
	c.MinVersion = tls.VersionTLS13
	c.NextProtos = []string{nodeProtocol}
	c.SessionTicketsDisabled, c.ClientSessionCache = true, nil // every connection shows its certificate
	c.InsecureSkipVerify = false
	c.GetConfigForClient = nil
	c.ClientCAs, c.ClientAuth = c.RootCAs, tls.RequireAndVerifyClientCert
	c.ServerName = NodeName
	more := c.VerifyConnection
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol != nodeProtocol {
			return errors.New("it does not speak the protocol of nodes")
		}
		if err := CheckNode(cs.PeerCertificates[0]); err != nil || more == nil {
			return err
		}
		return more(cs)
	}
	return c, nil
}

// shakeHands speaks TLS on a connection whose deadline is set, if the nodes do.
func (m *Mux) shakeHands(raw *muxConn, side func(net.Conn, *tls.Config) *tls.Conn) (_ net.Conn, known func(), err error) {
	if m.cfg.TLS == nil {
		return raw, func() {}, nil
	}
	c, err := nodeTLS(m.cfg.TLS)
	if err != nil {
		return nil, nil, err
	}
	b := &bounded{Conn: raw, left: maxStrangerBytes}
	conn := side(b, c)
	if err := conn.Handshake(); err != nil {
		return nil, nil, err
	}
	return conn, b.known, nil
}
