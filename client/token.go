package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema/access"
)

const (
	// tokenEvery is how often a token's file is read, at most.
	tokenEvery = time.Second
	// maxTokenFile bounds it.
	maxTokenFile = 4096
	// tokenGrace is for how long the token before is shown when the file has none.
	tokenGrace = 10 * time.Second
)

// TokenFile returns a [Config.TokenSource] that reads the token from a file, again when a
// second has passed: the file may be replaced at any time. Spaces and line ends around
// the token do not count. While the file has none that is complete, as when it is being written, the
// one before is shown, for ten seconds.
func TokenFile(path string) func() (string, error) {
	f := &tokenFile{path: path}
	return f.read
}

type tokenFile struct {
	path string

	mu    sync.Mutex
	at    time.Time // of the latest reading
	good  time.Time // of the latest that had a token
	token string
}

func (f *tokenFile) read() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.at.IsZero() && time.Since(f.at) < tokenEvery {
		return f.token, nil
	}
	token, err := readToken(f.path)
	now := time.Now()
	if err == nil {
		f.token, f.at, f.good = string(token), now, now
		return f.token, nil
	}
	if f.good.IsZero() || now.Sub(f.good) >= tokenGrace {
		return "", err
	}
	f.at = now
	return f.token, nil
}

func readToken(path string) (access.Token, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token, err := access.ParseToken(strings.TrimSpace(string(data)))
	if err != nil {
		return "", fmt.Errorf("token file %s: %w", path, err)
	}
	return token, nil
}

// tokenCredentials shows a token. It implements [credentials.PerRPCCredentials].
type tokenCredentials struct {
	source   func() (string, error)
	insecure bool // over any connection
}

// newTokenCredentials returns nil if there is no token.
func newTokenCredentials(cfg Config) *tokenCredentials {
	switch {
	case cfg.TokenSource != nil:
		return &tokenCredentials{source: cfg.TokenSource, insecure: cfg.InsecureToken}
	case cfg.Token != "":
		return &tokenCredentials{source: func() (string, error) { return cfg.Token, nil }, insecure: cfg.InsecureToken}
	}
	return nil
}

// option shows the token on a connection to this address.
func (c *tokenCredentials) option(addr string) grpc.DialOption {
	if c == nil {
		return grpc.EmptyDialOption{}
	}
	host, _, err := net.SplitHostPort(addr)
	local := err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
	return grpc.WithPerRPCCredentials(&tokenCredentials{source: c.source, insecure: c.insecure || local})
}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (c *tokenCredentials) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	if info, ok := credentials.RequestInfoFromContext(ctx); !c.insecure && (!ok || credentials.CheckSecurityLevel(info.AuthInfo, credentials.PrivacyAndIntegrity) != nil) {
		return nil, status.Error(codes.Unauthenticated, "the token is not sent without TLS, as others could read it on the way: use TLS")
	}
	token, err := c.source()
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials]: what is required
// depends on the address.
func (c *tokenCredentials) RequireTransportSecurity() bool { return false }
