// Package tlsfiles keeps certificates that are in files up to date: what is renewed on disk
// is used from the next connection on, without a restart.
//
// Files are read again every few seconds and compared by content, which works for those
// that are written in place, renamed, swapped by a symbolic link as Kubernetes does, or on
// a network file system. What cannot be used, such as a certificate whose key is still
// being written, leaves everything as it was and is logged once.
package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/credentials"
)

// PollEvery is how often the files are read.
const PollEvery = 5 * time.Second

// Use is what a certificate is shown for. It decides what is checked.
type Use int

const (
	// Server is a port for clients. With a CA, they must show a certificate of it.
	Server Use = iota
	// Client is a client of such a port. It needs a CA; a certificate only if the port wants one.
	Client
	// Node is a node among nodes: both, and recognised by its name, see [transport.CheckNode].
	Node
)

// Config names the files, in PEM.
type Config struct {
	// Cert is the certificate, followed by intermediate ones if there are any, and Key its
	// private key.
	Cert, Key string
	// CA has the authorities that the other side's certificate must come from. To replace
	// one, put both into the file for a while.
	CA  string
	Use Use
	// Optional lets clients in at a [Server] without a certificate, too; one that they show
	// must come from CA all the same. It is for ports where a token says who asks.
	Optional bool
	// Logger is told what is used, what cannot be, and what expires soon. Nil: nobody is.
	Logger hclog.Logger
}

// Files are certificates as they are in their files now. Safe for use by many goroutines.
//
// One goroutine watches the files, until Close.
type Files struct {
	cfg     Config
	current atomic.Pointer[material]
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu      sync.Mutex // one reader at a time; guards what follows
	refused string     // the error that was logged last, empty if what there is, is used
	warned  time.Time  // of an expiry
	grave   gravity    // of that warning
}

// Open reads the files and watches them. An error has every fault that they have.
func Open(cfg Config) (*Files, error) {
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	f := &Files{cfg: cfg}
	m, err := read(cfg).check(cfg, time.Now())
	if err != nil {
		return nil, err
	}
	f.use(m)
	f.warn(m, time.Now())
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	f.wg.Go(func() { f.watch(ctx) })
	return f, nil
}

// Close ends the watch and waits. What the files were last stays in use. It is idempotent.
func (f *Files) Close() error {
	f.cancel()
	f.wg.Wait()
	return nil
}

func (f *Files) watch(ctx context.Context) {
	ticker := time.NewTicker(PollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = f.Reload() // it was logged
		}
	}
}

// Reload reads the files now. On an error, which is logged once, what was in use stays so.
func (f *Files) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	current := f.current.Load()
	files := read(f.cfg)
	if f.refused == "" && files.sum == current.sum && files.faults == nil {
		f.warn(current, now)
		return nil
	}
	m, err := files.check(f.cfg, now)
	switch {
	case err != nil:
		if text := err.Error(); text != f.refused {
			f.refused = text
			f.cfg.Logger.Error("the TLS files cannot be used, and those from before stay in use: mend them", "error", oneLine(err))
		}
	case m.sum != current.sum:
		f.refused = ""
		f.warned = time.Time{}
		f.use(m)
		current = m
	default:
		f.refused = ""
		f.cfg.Logger.Info("the TLS files are as they were")
	}
	f.warn(current, now)
	return err
}

func (f *Files) use(m *material) {
	f.current.Store(m)
	if m.leaf != nil {
		f.cfg.Logger.Info("using a certificate", "file", f.cfg.Cert, "subject", m.leaf.Subject, "serial", m.leaf.SerialNumber.Text(16), "expires", stamp(m.leaf.NotAfter))
	} else {
		f.cfg.Logger.Info("using authorities", "file", f.cfg.CA, "number", len(m.authorities))
	}
}

// Current is the certificate and the authorities as they are now, for both sides of a
// connection between nodes: see [cluster.Config.PeerTLS]. It must not be changed.
func (f *Files) Current() *tls.Config { return f.current.Load().both }

// Server returns what a server needs. Every handshake uses the files as they are then.
func (f *Files) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return f.current.Load().server, nil
		},
	}
}

// Credentials returns what a client needs. Every handshake uses the files as they are
// then. serverName, unless empty, is what the node's certificate must be for, instead of
// the host that was dialled; [transport.NodeName] is good for every node.
func (f *Files) Credentials(serverName string) credentials.TransportCredentials {
	return &fileCredentials{files: f, serverName: serverName}
}

// Leaf is the certificate that is shown now, nil if there is none. It must not be changed.
func (f *Files) Leaf() *x509.Certificate { return f.current.Load().leaf }
