package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/transport/tlsfiles"
)

// requestTLS is how a command that asks a cluster proves who it is, and who the nodes are.
type requestTLS struct{ ca, cert, key, serverName string }

// add adds the flags.
func (t *requestTLS) add(cmd *cobra.Command) {
	for _, f := range []struct {
		to          *string
		name, usage string
	}{
		{&t.ca, "tls-ca", "`FILE` with the authority of the nodes; speaks TLS with\nthem"},
		{&t.cert, "tls-cert", "`FILE` with the certificate to show, if they want one"},
		{&t.key, "tls-key", "`FILE` with its key"},
		{&t.serverName, "tls-server-name", "`NAME` that the nodes' certificates must have instead of\nthe host; node.sema is in all of them"},
	} {
		cmd.Flags().StringVar(f.to, f.name, "", f.usage)
	}
}

// apply puts the files into the configuration of a client. They are watched until close is
// called: a command may run for days.
func (t *requestTLS) apply(cfg *client.Config) (close func() error, err error) {
	if t.ca == "" {
		if t.cert != "" || t.key != "" || t.serverName != "" {
			return nil, usagef("--tls-cert, --tls-key and --tls-server-name need --tls-ca, by which TLS is spoken")
		}
		return func() error { return nil }, nil
	}
	files, err := tlsfiles.Open(tlsfiles.Config{Cert: t.cert, Key: t.key, CA: t.ca, Use: tlsfiles.Client})
	if err != nil {
		return nil, fmt.Errorf("TLS (--tls-ca, --tls-cert, --tls-key): %w", err)
	}
	cfg.Credentials = files.Credentials(t.serverName)
	return files.Close, nil
}

// connection is a client that closes the files of its credentials, too.
type connection struct {
	*client.Client
	files func() error
}

// Close implements [io.Closer].
func (c *connection) Close() error { return errors.Join(c.Client.Close(), c.files()) }
