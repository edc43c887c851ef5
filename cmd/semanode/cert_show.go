package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/transport"
)

func newCertShowCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show what is in a certificate",
		Long: `Show prints what is in the certificates of a file: whose they are, what for, how
long they are valid, and whether a node would take them for a node's.`,
		Example: `  semanode cert show n1.pem
  semanode cert show ca.pem -o json`,
		Args: cobra.ExactArgs(1),
	}
	output := choice{"text", []string{"text", "json"}}
	addChoice(cmd, &output, "output", "o", "`FORMAT` of the answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		certs, err := readCertificates(args[0])
		if err != nil {
			return err
		}
		return printer{w: cmd.OutOrStdout(), json: output.value == "json"}.certificates(certs)
	}
	return cmd
}

func readCertificates(path string) (certs []*x509.Certificate, err error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s: %w", path, errors.New("it has no certificate in PEM"))
	}
	return certs, nil
}

// certJSON is a certificate as JSON.
type certJSON struct {
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	Serial      string    `json:"serial"`
	Names       []string  `json:"names"`
	Usage       []string  `json:"usage"`
	NotBefore   time.Time `json:"notBefore"`
	NotAfter    time.Time `json:"notAfter"`
	Fingerprint string    `json:"fingerprint"` // SHA-256
	Node        bool      `json:"node"`
}

func describe(c *x509.Certificate) certJSON {
	sum := sha256.Sum256(c.Raw)
	out := certJSON{
		Subject:     c.Subject.String(),
		Issuer:      c.Issuer.String(),
		Serial:      c.SerialNumber.Text(16),
		Names:       append([]string{}, c.DNSNames...),
		Usage:       []string{},
		NotBefore:   c.NotBefore.UTC(),
		NotAfter:    c.NotAfter.UTC(),
		Fingerprint: hex.EncodeToString(sum[:]),
		Node:        !c.IsCA && transport.CheckNode(c) == nil,
	}
	for _, ip := range c.IPAddresses {
		out.Names = append(out.Names, ip.String())
	}
	if c.IsCA {
		out.Usage = append(out.Usage, "authority")
	}
	for _, usage := range c.ExtKeyUsage {
		switch usage {
		case x509.ExtKeyUsageServerAuth:
			out.Usage = append(out.Usage, "server")
		case x509.ExtKeyUsageClientAuth:
			out.Usage = append(out.Usage, "client")
		case x509.ExtKeyUsageAny:
			out.Usage = append(out.Usage, "any")
		default:
			out.Usage = append(out.Usage, fmt.Sprintf("other (%d)", usage))
		}
	}
	return out
}

// certificates prints what is in certificates, as a list also if there is only one.
func (p printer) certificates(certs []*x509.Certificate) error {
	all := make([]certJSON, len(certs))
	for i, c := range certs {
		all[i] = describe(c)
	}
	if p.json {
		return p.encode(struct {
			Certificates []certJSON `json:"certificates"`
		}{all})
	}
	for i, c := range all {
		if i > 0 {
			if _, err := fmt.Fprintln(p.w); err != nil {
				return err
			}
		}
		node := "no"
		if c.Node {
			node = "yes"
		}
		t := p.table()
		t.row("subject:", c.Subject)
		t.row("issuer:", c.Issuer)
		t.row("serial:", c.Serial)
		t.row("names:", strings.Join(c.Names, ", "))
		t.row("usage:", strings.Join(c.Usage, ", "))
		t.row("valid from:", stamp(c.NotBefore))
		t.row("valid to:", stamp(c.NotAfter))
		t.row("SHA-256:", c.Fingerprint)
		t.row("a node's:", node)
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
