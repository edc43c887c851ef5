package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

var descCertificate = describe("certificate_not_after_seconds", "When the certificate that a port shows ends, Unix time: the one for clients, the one for other nodes. Absent without TLS.", "port")

// certificates tells when those end that the node shows now.
func (m metrics) certificates(out sink) {
	if m.node.cfg.PeerTLS != nil {
		out.notAfter("raft", m.node.cfg.PeerTLS())
	}
	if c := m.node.cfg.TLS; c != nil {
		if c.GetConfigForClient != nil {
			if current := configForNobody(c); current != nil {
				c = current
			}
		}
		out.notAfter("grpc", c)
	}
}

// configForNobody is what a client would be served with of whom nothing is known, nil if
// there is nothing. Who embeds a node may have written the function for real clients only,
// who have a connection: a scrape must not end the process.
func configForNobody(c *tls.Config) (current *tls.Config) {
	defer func() {
		if recover() != nil {
			current = nil
		}
	}()
	current, err := c.GetConfigForClient(&tls.ClientHelloInfo{})
	if err != nil {
		return nil
	}
	return current
}

func (s sink) notAfter(port string, c *tls.Config) {
	if c == nil || len(c.Certificates) == 0 {
		return
	}
	leaf := c.Certificates[0].Leaf
	if leaf == nil && len(c.Certificates[0].Certificate) > 0 {
		leaf, _ = x509.ParseCertificate(c.Certificates[0].Certificate[0]) // nil if it is none: no handshake succeeds with it
	}
	if leaf != nil {
		s.gauge(descCertificate, float64(leaf.NotAfter.UnixNano())/float64(time.Second), port)
	}
}
