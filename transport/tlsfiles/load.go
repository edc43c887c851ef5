package tlsfiles

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/semanode/sema/transport"
)

// maxFileBytes bounds what is read of a file that may be anything.
const maxFileBytes = 1 << 20

// material is what the files were at one moment. It does not change.
type material struct {
	sum          [sha256.Size]byte // of all files
	leaf         *x509.Certificate // nil without Cert
	authorities  []*x509.Certificate
	server, both *tls.Config
}

// contents are the files as they were read, and what was wrong with that.
type contents struct {
	cert, key, ca []byte
	sum           [sha256.Size]byte
	faults        []error
}

func read(cfg Config) (c contents) {
	file := func(what, path string) []byte {
		data, err := readFile(path)
		if err != nil {
			c.faults = append(c.faults, fmt.Errorf("%s: %w", what, err))
		}
		return data
	}
	c.cert, c.key, c.ca = file("certificate", cfg.Cert), file("key", cfg.Key), file("authority", cfg.CA)
	c.sum = sumOf(c.cert, c.key, c.ca)
	return c
}

// check makes of the files what can be used. An error has every fault.
func (c contents) check(cfg Config, now time.Time) (*material, error) {
	errs := append(cfg.faults(), c.faults...)
	m := &material{sum: c.sum}
	var shown []tls.Certificate
	if len(c.cert) > 0 && len(c.key) > 0 {
		pair, err := pairOf(cfg, c.cert, c.key, now)
		if err != nil {
			errs = append(errs, err)
		} else {
			m.leaf, shown = pair.Leaf, []tls.Certificate{pair}
		}
	}
	var pool *x509.CertPool
	if len(c.ca) > 0 {
		var err error
		if m.authorities, err = authoritiesOf(c.ca, now); err != nil {
			errs = append(errs, fmt.Errorf("authority: %s: %w", cfg.CA, err))
		}
		pool = x509.NewCertPool()
		for _, a := range m.authorities {
			pool.AddCert(a)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	m.both = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: shown, RootCAs: pool}
	m.server = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: shown, SessionTicketsDisabled: true} // every connection shows its certificate
	if pool != nil {
		m.server.ClientCAs, m.server.ClientAuth = pool, tls.RequireAndVerifyClientCert
		if cfg.Optional {
			m.server.ClientAuth = tls.VerifyClientCertIfGiven
		}
	}
	return m, nil
}

// faults are those of the configuration itself.
func (cfg Config) faults() (errs []error) {
	switch {
	case (cfg.Cert == "") != (cfg.Key == ""):
		errs = append(errs, errors.New("a certificate and its key come together: name both files, or none"))
	case cfg.Cert == "" && cfg.Use != Client:
		errs = append(errs, errors.New("a server shows a certificate: name its file and that of its key"))
	}
	if cfg.CA == "" && cfg.Use != Server {
		errs = append(errs, errors.New("the other side's certificate is checked: name the file with its authority"))
	}
	return errs
}

// readFile returns what is in a file, nothing if there is no path.
func readFile(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) == 0:
		return nil, fmt.Errorf("%s: it is empty", path)
	case len(data) > maxFileBytes:
		return nil, fmt.Errorf("%s: it has more than 1 MiB, and is something else", path)
	}
	return data, nil
}

func sumOf(files ...[]byte) [sha256.Size]byte {
	var sums []byte
	for _, data := range files {
		sum := sha256.Sum256(data)
		sums = append(sums, sum[:]...)
	}
	return sha256.Sum256(sums)
}

// ends is an error if what follows the last whole block of a file is the beginning of
// another one: the file is half written. One that is cut between two cannot be told.
func ends(rest []byte) error {
	for line := range bytes.Lines(rest) {
		if bytes.HasPrefix(line, []byte("-")) {
			return errors.New("it ends in the middle of a certificate: replace it by rename, so that it is never seen half written")
		}
	}
	return nil
}

// chainEnds is an error if a chain of certificates is half written.
func chainEnds(chain []byte) error {
	for rest := chain; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return ends(rest)
		}
	}
}

// pairOf checks a certificate with its key.
func pairOf(cfg Config, cert, key []byte, now time.Time) (tls.Certificate, error) {
	if err := chainEnds(cert); err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate %s: %w", cfg.Cert, err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return pair, fmt.Errorf("certificate %s with key %s: %w", cfg.Cert, cfg.Key, err)
	}
	leaf := pair.Leaf
	errs := []error{timely(leaf, now)}
	switch cfg.Use {
	case Node:
		errs = append(errs, transport.CheckNode(leaf))
	case Server:
		errs = append(errs, mayBe(leaf, x509.ExtKeyUsageServerAuth, "server"))
	case Client:
		errs = append(errs, mayBe(leaf, x509.ExtKeyUsageClientAuth, "client"))
	}
	if err := errors.Join(errs...); err != nil {
		return pair, fmt.Errorf("certificate: %s: %w", cfg.Cert, err)
	}
	return pair, nil
}

func mayBe(leaf *x509.Certificate, usage x509.ExtKeyUsage, what string) error {
	if len(leaf.ExtKeyUsage) == 0 && len(leaf.UnknownExtKeyUsage) == 0 ||
		slices.Contains(leaf.ExtKeyUsage, usage) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	return fmt.Errorf("the certificate of %q is not for %s authentication", leaf.Subject, what)
}

// timely is an error if a certificate is not valid now.
func timely(c *x509.Certificate, now time.Time) error {
	switch {
	case now.Before(c.NotBefore):
		return fmt.Errorf("the certificate of %q is not valid before %s; is the clock right?", c.Subject, stamp(c.NotBefore))
	case now.After(c.NotAfter):
		return fmt.Errorf("the certificate of %q expired at %s: renew it", c.Subject, stamp(c.NotAfter))
	}
	return nil
}

// authoritiesOf reads a bundle. One of them must be valid now: old ones may stay for a while.
func authoritiesOf(bundle []byte, now time.Time) (all []*x509.Certificate, err error) {
	var late []error
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if err := ends(rest); err != nil {
				return nil, err
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it has a %s: it may have certificates of authorities only", strings.ToLower(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		if !c.IsCA {
			return nil, fmt.Errorf("the certificate of %q is not an authority's", c.Subject)
		}
		if err := timely(c, now); err != nil {
			late = append(late, err)
		}
		all = append(all, c)
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("it has no certificate in PEM")
	case len(late) == len(all):
		return nil, errors.Join(late...)
	}
	return all, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// oneLine is an error's text for a log.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
