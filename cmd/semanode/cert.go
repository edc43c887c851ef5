package main

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/pki"
	"github.com/semanode/sema/transport"
)

const (
	caName  = "ca"
	caYears = 10 * 365 * 24 * time.Hour
	oneYear = 365 * 24 * time.Hour
)

func newCertCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Make certificates for nodes and clients",
		Long: `Cert makes the certificates of a cluster: an authority, which signs the others,
one for each node and one for each client. It is for those who have no authority
of their own; certificates from elsewhere serve as well.

A node's certificate has the DNS name node.sema and is for servers and clients.
That name is what nodes know each other by: give it to nobody else.

The authority's key can make anybody a node: keep it off the nodes.`,
		Example: `  semanode cert ca
  semanode cert node n1 --host 10.0.0.1 --host n1.example.com
  semanode cert client nightly-jobs
  semanode cert show n1.pem`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("cert needs a command: ca, node, client or show")
		},
	}
	addTo(cmd, "", newCertCACmd(), newCertNodeCmd(), newCertClientCmd(), newCertShowCmd())
	return cmd
}

// certFlags is what the commands that make certificates have in common.
type certFlags struct {
	dir       string
	ca, caKey string
	validity  time.Duration
	force     bool
}

func addCertFlags(cmd *cobra.Command, validity time.Duration) *certFlags {
	f := &certFlags{}
	cmd.Flags().StringVar(&f.dir, "dir", ".", "`DIR` for the files, and with the authority's")
	cmd.Flags().DurationVar(&f.validity, "validity", validity, "how long it is valid, 1m or more")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace files that exist: to renew")
	return f
}

func (f *certFlags) addAuthority(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.ca, "ca", "", "`FILE` with the authority's certificate (default DIR/ca.pem)")
	cmd.Flags().StringVar(&f.caKey, "ca-key", "", "`FILE` with its key (default DIR/ca-key.pem)")
}

func (f *certFlags) validate() error {
	if f.validity < time.Minute {
		return &sema.InvalidError{Field: "validity", Value: f.validity.String(), Limit: "1m or more"}
	}
	return nil
}

func newCertCACmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make an authority",
		Long: `Ca makes an authority: ca.pem, which nodes and clients believe, and its key,
ca-key.pem, which makes certificates. One for each cluster.`,
		Example: `  semanode cert ca`,
		Args:    cobra.NoArgs,
	}
	name := cmd.Flags().String("name", "sema", "`NAME` of the authority, for people")
	f := addCertFlags(cmd, caYears)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.validate(); err != nil {
			return err
		}
		from, to := pki.Valid(f.validity)
		_, pair, err := pki.NewAuthority(*name, from, to)
		if err != nil {
			return err
		}
		return f.write(cmd, caName, pair)
	}
	return cmd
}

func newCertNodeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node NAME --host HOST ...",
		Short: "Make a node's certificate",
		Long: `Node makes the certificate of a node, NAME.pem, and its key, NAME-key.pem. It is
for --tls-cert and --peer-tls-cert of serve.

--host is where clients reach the node, an address or a DNS name, as often as
need be. localhost and node.sema are always among the names.`,
		Example: `  semanode cert node n1 --host 10.0.0.1 --host n1.example.com`,
		Args:    cobra.ExactArgs(1),
	}
	hosts := cmd.Flags().StringSlice("host", nil, "`HOST` at which clients reach the node")
	f := addCertFlags(cmd, oneYear)
	f.addAuthority(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, host := range *hosts {
			if net.ParseIP(host) == nil && !dnsName(host) {
				return &sema.InvalidError{Field: "host", Value: host, Limit: "an address or a DNS name, without a port"}
			}
		}
		names := append([]string{transport.NodeName}, *hosts...)
		for _, local := range []string{"localhost", "127.0.0.1", "::1"} {
			if !slices.Contains(names, local) {
				names = append(names, local)
			}
		}
		return f.issue(cmd, pki.Request{Name: args[0], Hosts: names, Server: true, Client: true})
	}
	return cmd
}

func newCertClientCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "client NAME",
		Short: "Make a client's certificate",
		Long: `Client makes the certificate of a client, NAME.pem, and its key, NAME-key.pem.
NAME is its common name: who the client is.`,
		Example: `  semanode cert client nightly-jobs`,
		Args:    cobra.ExactArgs(1),
	}
	f := addCertFlags(cmd, oneYear)
	f.addAuthority(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.issue(cmd, pki.Request{Name: args[0], Client: true})
	}
	return cmd
}

// issue makes a certificate under the name of the request, which becomes that of its files.
func (f *certFlags) issue(cmd *cobra.Command, r pki.Request) error {
	if err := f.validate(); err != nil {
		return err
	}
	if !fileName(r.Name) || r.Name == caName || strings.HasSuffix(r.Name, "-key") {
		return &sema.InvalidError{Field: "name", Value: r.Name, Limit: "1 to 64 of a-z A-Z 0-9 . _ - @, not " + strconv.Quote(caName) + ", and no -key at the end, as keys' files have"}
	}
	if f.ca == "" {
		f.ca = filepath.Join(f.dir, caName+".pem")
	}
	if f.caKey == "" {
		f.caKey = filepath.Join(f.dir, caName+"-key.pem")
	}
	authority, err := readAuthority(f.ca, f.caKey)
	if err != nil {
		return fmt.Errorf("the authority (semanode cert ca makes one): %w", err)
	}
	r.From, r.To = pki.Valid(f.validity)
	pair, err := authority.Issue(r)
	if err != nil {
		return fmt.Errorf("%s: %w", f.ca, err)
	}
	if err := f.write(cmd, r.Name, pair); err != nil {
		return err
	}
	if end := authority.Cert.NotAfter; r.To.After(end) {
		cmd.PrintErrf("semanode: it is valid until %s only, as its authority is\n", end.UTC().Format(time.RFC3339))
	}
	return nil
}

// dnsName reports whether a name can be in a certificate: labels of letters, digits, - and
// _, of which the first may be a *.
func dnsName(name string) bool {
	ok := len(name) <= 253
	for i, label := range strings.Split(name, ".") {
		if i == 0 && label == "*" {
			continue
		}
		ok = ok && len(label) >= 1 && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-'
		for _, r := range label {
			ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}
	}
	return ok
}

// fileName reports whether a name can be that of a file and a subject.
func fileName(name string) bool {
	ok := len(name) >= 1 && len(name) <= 64 && name[0] != '.' && name[0] != '-'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' || r == '@')
	}
	return ok
}
