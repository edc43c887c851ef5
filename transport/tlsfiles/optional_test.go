package tlsfiles_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/semanode/sema/internal/pki/pkitest"
	"github.com/semanode/sema/transport/tlsfiles"
)

// TestOptional: a port at which a token may say who asks lets clients in without a
// certificate, and none with a certificate of somebody else.
func TestOptional(t *testing.T) {
	ca, other := pkitest.New(t), pkitest.New(t)
	folder := newFolder(t)
	folder.put(ca.Issue(nil), ca.PEM)
	for _, optional := range []bool{false, true} {
		cfg := folder.config()
		cfg.Use, cfg.Optional = tlsfiles.Server, optional
		files, err := tlsfiles.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer files.Close()
		for name, c := range map[string]struct {
			shown []tls.Certificate
			in    bool
		}{
			"no certificate": {nil, optional},
			"a certificate":  {ca.Config(pkitest.AsClient).Certificates, true},
			"a stranger's":   {other.Config(pkitest.AsClient).Certificates, false},
		} {
			client := ca.Config(nil).Clone()
			client.ServerName = "node.sema"
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if c.shown == nil {
					return new(tls.Certificate), nil
				}
				return &c.shown[0], nil
			}
			here, there := net.Pipe()
			shaken := make(chan error, 1)
			go func() {
				shaken <- tls.Server(there, files.Server()).Handshake()
				there.Close()
			}()
			conn := tls.Client(here, client)
			_ = conn.Handshake() // TLS 1.3: the server may refuse the certificate later
			go func() { _, _ = conn.Read(make([]byte, 1)) }()
			if err := <-shaken; (err == nil) != c.in {
				t.Errorf("optional %v, %s: %v, want in %v", optional, name, err, c.in)
			}
			here.Close()
		}
	}
}
