package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
)

// The defaults of [Config].
const (
	DefaultTryTimeout  = 2 * time.Second
	DefaultBackoffBase = 25 * time.Millisecond
	DefaultBackoffMax  = time.Second
)

// Config says how to reach a cluster. Only Endpoints must be set.
type Config struct {
	// Endpoints are the addresses at which nodes serve clients, each
	// "host:port". One that is alive is enough to find all others. They are
	// asked in this order.
	Endpoints []string
	// TLS, if set, is spoken on every connection.
	TLS *tls.Config
	// Credentials, if set, are used in place of TLS: such as those of package tlsfiles, by
	// which renewed certificates are used without a new Client.
	Credentials credentials.TransportCredentials
	// Token, if set, is shown to the nodes: it says who asks. Without TLS it is sent to
	// loopback addresses only, unless InsecureToken is set.
	Token string
	// TokenSource is Token from elsewhere, such as [TokenFile], asked for each stream and
	// call: a token can change without a restart. It may be called by many goroutines.
	TokenSource func() (string, error)
	// InsecureToken sends the token over connections without TLS too, where others can
	// read it on the way, and use it.
	InsecureToken bool
	// TryTimeout is how long one node may take to answer before the next one is
	// asked. 2 s if zero. A try takes at most half of the time that is left, so
	// that a node that hangs leaves time for another.
	TryTimeout time.Duration
	// BackoffBase and BackoffMax bound the pause after a failed try: a random
	// time between zero and a limit that starts at the base and doubles up to
	// the maximum. 25 ms and 1 s if zero.
	BackoffBase, BackoffMax time.Duration
	// Logger, if set, is told at debug level about tries that failed.
	Logger hclog.Logger
	// TracerProvider, if set, traces calls: each over all its tries and, where nodes
	// trace too, through the cluster. Nil: none is traced, and that costs nothing.
	TracerProvider trace.TracerProvider
	// Unary makes every call one of gRPC's own. As a rule, those of all goroutines share
	// one stream to each node, which costs a fraction of it; interceptors and proxies
	// that are to see single calls see that stream only.
	Unary bool
	// DialOptions are added to those of every connection, such as a dialer that
	// goes through a proxy, or interceptors that trace calls.
	DialOptions []grpc.DialOption
}

// Validate reports every fault, joined; each is a [sema.InvalidError].
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	if len(c.Endpoints) == 0 {
		faults = append(faults, &sema.InvalidError{Field: "Endpoints", Limit: "at least one host:port"})
	}
	seen := map[string]int{}
	for i, addr := range c.Endpoints {
		field := fmt.Sprintf("Endpoints[%d]", i)
		if !validAddr(addr) {
			faults = append(faults, &sema.InvalidError{Field: field, Value: addr, Limit: "host:port, with a port from 1 to 65535"})
		} else if first, again := seen[addr]; again {
			faults = append(faults, &sema.InvalidError{Field: field, Value: addr, Limit: fmt.Sprintf("each address once: it is Endpoints[%d] too", first)})
		} else {
			seen[addr] = i
		}
	}
	if c.TLS != nil && c.Credentials != nil {
		faults = append(faults, &sema.InvalidError{Field: "Credentials", Limit: "none beside TLS: set one of them"})
	}
	if c.Token != "" && c.TokenSource != nil {
		faults = append(faults, &sema.InvalidError{Field: "TokenSource", Value: "beside Token", Limit: "one of the two"})
	}
	if c.Token != "" {
		if _, err := access.ParseToken(c.Token); err != nil {
			faults = append(faults, err)
		}
	}
	if c.TryTimeout < 0 {
		faults = append(faults, invalidDuration("TryTimeout", c.TryTimeout, "0 (2s) or more"))
	}
	if c.BackoffBase < 0 {
		faults = append(faults, invalidDuration("BackoffBase", c.BackoffBase, "0 (25ms) or more"))
	}
	if c.BackoffMax < c.BackoffBase {
		faults = append(faults, invalidDuration("BackoffMax", c.BackoffMax, fmt.Sprintf("at least BackoffBase, which is %v", c.BackoffBase)))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.TryTimeout == 0 {
		c.TryTimeout = DefaultTryTimeout
	}
	if c.BackoffBase == 0 {
		c.BackoffBase = DefaultBackoffBase
	}
	if c.BackoffMax == 0 {
		c.BackoffMax = max(DefaultBackoffMax, c.BackoffBase)
	}
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	return c
}

// validAddr reports whether addr is a host and a port that can be dialled.
func validAddr(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n != 0
}

func invalidDuration(field string, d time.Duration, limit string) error {
	return &sema.InvalidError{Field: field, Value: d.String(), Limit: limit}
}
