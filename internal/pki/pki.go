// Package pki makes the certificates of a cluster, for people who have no authority of
// their own and for tests. It is crypto/x509 with the choices made: ECDSA on P-256, random
// serial numbers, nothing that a peer would not check.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// backdate is how far back certificates begin, for clocks that are behind.
const backdate = 5 * time.Minute

// Authority signs certificates.
type Authority struct {
	Cert *x509.Certificate
	key  crypto.Signer
}

// Request says what a certificate is for.
type Request struct {
	Name     string   // the common name
	Hosts    []string // DNS names and IP addresses
	Server   bool     // to be shown by a server
	Client   bool     // to be shown by a client
	From, To time.Time
}

// Pair is a certificate with its key, both in PEM.
type Pair struct{ Cert, Key []byte }

// TLS returns the pair as crypto/tls has it.
func (p Pair) TLS() (tls.Certificate, error) { return tls.X509KeyPair(p.Cert, p.Key) }

// Valid returns the bounds of a certificate that is good from now on for this long.
func Valid(validity time.Duration) (from, to time.Time) {
	now := time.Now()
	return now.Add(-backdate), now.Add(validity)
}

// NewAuthority makes an authority that signs leaves and no further authorities.
func NewAuthority(name string, from, to time.Time) (*Authority, Pair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	cert, pair, key, err := make509(template, nil)
	return &Authority{cert, key}, pair, err
}

// LoadAuthority reads an authority from PEM.
func LoadAuthority(pair Pair) (*Authority, error) {
	loaded, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	key, ok := loaded.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key cannot sign")
	}
	if !loaded.Leaf.IsCA {
		return nil, fmt.Errorf("the certificate of %q is not an authority's", loaded.Leaf.Subject)
	}
	return &Authority{loaded.Leaf, key}, nil
}

// Issue makes and signs a certificate. It does not outlive the authority, which must be
// valid now.
func (a *Authority) Issue(r Request) (Pair, error) {
	if now := time.Now(); now.Before(a.Cert.NotBefore) || now.After(a.Cert.NotAfter) {
		return Pair{}, fmt.Errorf("the authority is valid from %s to %s: nobody would believe what it signs now",
			a.Cert.NotBefore.UTC().Format(time.RFC3339), a.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if r.To.After(a.Cert.NotAfter) {
		r.To = a.Cert.NotAfter
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: r.Name},
		NotBefore:             r.From,
		NotAfter:              r.To,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
	}
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if r.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	_, pair, _, err := make509(template, a)
	return pair, err
}

// make509 makes a key and a certificate for it; without an authority it signs itself.
func make509(template *x509.Certificate, by *Authority) (*x509.Certificate, Pair, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, Pair{}, nil, err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, Pair{}, nil, err
	}
	template.SerialNumber.Add(template.SerialNumber, big.NewInt(1)) // not zero
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.Cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, Pair{}, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, Pair{}, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, Pair{}, nil, err
	}
	return cert, Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}, key, nil
}
