package cluster

import (
	"crypto/tls"
	"testing"
)

// A function that counts on a connection does not end the process when metrics are read.
func TestConfigForNobody(t *testing.T) {
	t.Parallel()
	want := &tls.Config{}
	for name, tc := range map[string]struct {
		ask  func(*tls.ClientHelloInfo) (*tls.Config, error)
		want *tls.Config
	}{
		"panics":  {func(h *tls.ClientHelloInfo) (*tls.Config, error) { return nil, h.Conn.Close() }, nil},
		"answers": {func(*tls.ClientHelloInfo) (*tls.Config, error) { return want, nil }, want},
	} {
		if got := configForNobody(&tls.Config{GetConfigForClient: tc.ask}); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
