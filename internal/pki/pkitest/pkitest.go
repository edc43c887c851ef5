// Package pkitest makes certificates for tests, good ones and bad ones.
package pkitest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/semanode/sema/internal/pki"
)

// CA is an authority.
type CA struct {
	t         testing.TB
	authority *pki.Authority
	PEM       []byte
}

// New makes an authority that is valid for a year.
func New(t testing.TB) *CA {
	t.Helper()
	from, to := pki.Valid(365 * 24 * time.Hour)
	authority, pair, err := pki.NewAuthority("authority of "+t.Name(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	return &CA{t, authority, pair.Cert}
}

// Pool is what believes the authority.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.authority.Cert)
	return pool
}

// Issue makes a certificate of a node on this machine, or what change makes of that.
func (ca *CA) Issue(change func(*pki.Request)) pki.Pair {
	ca.t.Helper()
	r := pki.Request{Name: "a node", Hosts: []string{"node.sema", "127.0.0.1"}, Server: true, Client: true}
	r.From, r.To = pki.Valid(24 * time.Hour)
	if change != nil {
		change(&r)
	}
	pair, err := ca.authority.Issue(r)
	if err != nil {
		ca.t.Fatal(err)
	}
	return pair
}

// Cert is Issue as crypto/tls has it.
func (ca *CA) Cert(change func(*pki.Request)) tls.Certificate {
	ca.t.Helper()
	cert, err := ca.Issue(change).TLS()
	if err != nil {
		ca.t.Fatal(err)
	}
	return cert
}

// Config is what a node or a client with this certificate uses.
func (ca *CA) Config(change func(*pki.Request)) *tls.Config {
	ca.t.Helper()
	return &tls.Config{Certificates: []tls.Certificate{ca.Cert(change)}, RootCAs: ca.Pool(), MinVersion: tls.VersionTLS13}
}

// AsClient makes a request one for a client's certificate.
func AsClient(r *pki.Request) { r.Name, r.Hosts, r.Server = "a client", nil, false }

// Write writes a file so that nobody sees half of it.
func Write(t testing.TB, path string, data []byte) {
	t.Helper()
	next := filepath.Join(filepath.Dir(path), ".next-"+filepath.Base(path))
	if err := os.WriteFile(next, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}
