package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/transport/tlsfiles"
)

const serveTLSHelp = `Where others than this machine can connect, both ports need TLS: --tls-cert and
--tls-key for clients, --peer-tls-ca between nodes. Certificates are read again
when their files change, and at SIGHUP. "semanode cert" makes them.`

// serveTLS is the flags of serve for TLS, and what is open because of them.
type serveTLS struct {
	cert, key, clientCA       string
	peerCert, peerKey, peerCA string

	open []*tlsfiles.Files
}

func addServeTLS(cmd *cobra.Command, cfg *cluster.Config) *serveTLS {
	flags := cmd.Flags()
	t := &serveTLS{}
	flags.StringVar(&t.cert, "tls-cert", "", "`FILE` with the certificate that clients see; speaks TLS with them")
	flags.StringVar(&t.key, "tls-key", "", "`FILE` with its key")
	flags.StringVar(&t.clientCA, "tls-client-ca", "", "`FILE` with the authority that clients must have a certificate of;\nwithout it any client is let in. With --access-file a token does,\ntoo, and without either nothing is allowed")
	flags.StringVar(&t.peerCA, "peer-tls-ca", "", "`FILE` with the authority of the nodes; they speak TLS with each\nother and let nobody in who has no node's certificate of it")
	flags.StringVar(&t.peerCert, "peer-tls-cert", "", "`FILE` with the certificate that other nodes see, with the name\nnode.sema in it (default --tls-cert)")
	flags.StringVar(&t.peerKey, "peer-tls-key", "", "`FILE` with its key (default --tls-key)")
	flags.BoolVar(&cfg.Insecure, "insecure", false, "listen without TLS also where others can connect: they may\ndo everything")
	flags.BoolVar(&cfg.InsecureTokens, "insecure-tokens", false, "take tokens also over connections without TLS that come from other\nmachines, where others can read them on the way; --insecure does\nnot imply it")
	return t
}

// apply opens the files that the flags name, and puts them into the configuration. Close
// is due also after an error.
func (t *serveTLS) apply(cfg *cluster.Config, logger hclog.Logger) error {
	var errs []error
	open := func(what string, c tlsfiles.Config) *tlsfiles.Files {
		c.Logger = logger.Named("tls")
		files, err := tlsfiles.Open(c)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
			return nil
		}
		t.open = append(t.open, files)
		return files
	}
	switch {
	case t.cert != "" || t.key != "":
		if files := open("TLS for clients (--tls-cert, --tls-key, --tls-client-ca)", tlsfiles.Config{Cert: t.cert, Key: t.key, CA: t.clientCA, Use: tlsfiles.Server,
			Optional: cfg.AccessFile != ""}); files != nil {
			cfg.TLS = files.Server()
		}
	case t.clientCA != "":
		errs = append(errs, usagef("--tls-client-ca needs --tls-cert and --tls-key"))
	}
	peer := tlsfiles.Config{Cert: t.peerCert, Key: t.peerKey, CA: t.peerCA, Use: tlsfiles.Node}
	if peer.Cert == "" && peer.Key == "" {
		peer.Cert, peer.Key = t.cert, t.key
	}
	switch {
	case t.peerCA != "":
		if files := open("TLS between nodes (--peer-tls-cert, --peer-tls-key, --peer-tls-ca)", peer); files != nil {
			cfg.PeerTLS = files.Current
		}
	case t.peerCert != "" || t.peerKey != "":
		errs = append(errs, usagef("--peer-tls-cert and --peer-tls-key need --peer-tls-ca"))
	}
	return errors.Join(errs...)
}

// close ends the watch over the files.
func (t *serveTLS) close() {
	for _, files := range t.open {
		_ = files.Close() // never fails
	}
}

// hangups are the SIGHUPs that came: from the first moment, as one would end a process that
// has not asked for it.
type hangups struct {
	came    chan os.Signal
	reloads sync.WaitGroup
}

func takeHangups() *hangups {
	h := &hangups{came: make(chan os.Signal, 1)}
	signal.Notify(h.came, syscall.SIGHUP)
	return h
}

// reload reads the files again for each that comes, or has come.
func (h *hangups) reload(t *serveTLS) {
	h.reloads.Go(func() {
		for range h.came {
			for _, files := range t.open {
				_ = files.Reload() // it was logged
			}
		}
	})
}

// stop ends that and waits.
func (h *hangups) stop() {
	signal.Stop(h.came) // nothing is sent from here on
	close(h.came)
	h.reloads.Wait()
}
