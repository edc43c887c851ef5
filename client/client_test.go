package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
)

func TestClientIsAService(t *testing.T) {
	node := serve(t, nil)
	c, other := dial(t, node.addr), dial(t, node.addr)
	ctx := within(t, 20*time.Second)

	info := mustAcquire(t, c, "a")
	if info.Owner != "me" || info.Timeout != timeout || info.Token == 0 || info.ExpiresAt.Location() != time.UTC {
		t.Errorf("acquired %+v", info)
	}
	if info, err := other.Acquire(ctx, "a", "you", timeout); err != nil || info.Status != sema.OwnedBySomeoneElse || info.Owner != "me" {
		t.Errorf("acquired by another: %+v, %v", info, err)
	}
	if touched, err := c.Touch(ctx, "a"); err != nil || touched.Token != info.Token || touched.UpdatedAt.Before(info.UpdatedAt) {
		t.Errorf("touched: %+v, %v", touched, err)
	}
	for what, get := range map[string]func(context.Context, string) (sema.Info, error){"get": c.Get, "stale get": c.GetStale} {
		if got, err := get(ctx, "a"); err != nil || got.Status != sema.Acquired || got.Token != info.Token {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		if _, err := get(ctx, "nothing"); !errors.Is(err, sema.ErrNotFound) {
			t.Errorf("%s of what is free: %v", what, err)
		}
	}
	if got, err := c.Fork().Get(ctx, "a"); err != nil || got.Status != sema.OwnedBySomeoneElse {
		t.Errorf("get by a fork: %+v, %v", got, err)
	}
	if err := c.Release(ctx, "a"); err != nil {
		t.Errorf("release: %v", err)
	}
	if err := c.Release(ctx, "a"); err != nil {
		t.Errorf("release of what is free: %v", err)
	}
}

func TestHoldsByToken(t *testing.T) {
	node := serve(t, nil)
	holder, admin := dial(t, node.addr), dial(t, node.addr)
	ctx := within(t, 20*time.Second)
	token := mustAcquire(t, holder, "a").Token

	if info, err := admin.TouchToken(ctx, "a", token); err != nil || info.Token != token {
		t.Errorf("touch: %+v, %v", info, err)
	}
	if _, err := admin.TouchToken(ctx, "a", token+1); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("touch of another token: %v", err)
	}
	if _, err := admin.ReleaseToken(ctx, "a", token+1); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("release of another token: %v", err)
	}
	for _, want := range []bool{true, false} {
		if released, err := admin.ReleaseToken(ctx, "a", token); err != nil || released != want {
			t.Errorf("release: %v, %v, want %v", released, err, want)
		}
	}
	if _, err := admin.ForceRelease(ctx, "a", token); !errors.Is(err, sema.ErrNotFound) {
		t.Errorf("forced release of what is free: %v", err)
	}
	token = mustAcquire(t, holder, "a").Token
	if _, err := admin.ForceRelease(ctx, "a", token-1); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("forced release of another token: %v", err)
	}
	if info, err := admin.ForceRelease(ctx, "a", token); err != nil || info.Owner != "me" || info.Status != sema.ForcedReleased {
		t.Errorf("forced release: %+v, %v", info, err)
	}
	before := len(node.Requests())
	_, touch := admin.TouchToken(ctx, "a", 0)
	_, release := admin.ReleaseToken(ctx, "", 0)
	_, force := admin.ForceRelease(ctx, "\n", 0)
	_, list := admin.List(ctx, transport.ListRequest{Limit: -1})
	for _, err := range []error{touch, release, force, list} {
		if !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
	}
	if len(node.Requests()) != before {
		t.Error("something invalid was sent")
	}
}

func TestListTellsOwnHoldsApart(t *testing.T) {
	node := serve(t, nil)
	c, other := dial(t, node.addr), dial(t, node.addr)
	for i := range 5 {
		mustAcquire(t, []*client.Client{c, other}[i%2], fmt.Sprint("job/", i))
	}
	mustAcquire(t, other, "else")
	var got []string
	req := transport.ListRequest{Prefix: "job/", Limit: 2}
	for {
		page, err := c.List(within(t, 20*time.Second), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range page.Infos {
			got = append(got, fmt.Sprint(info.Name, " ", uint8(info.Status)))
		}
		if page.Next == "" {
			break
		}
		req.After = page.Next
	}
	if want := []string{"job/0 1", "job/1 3", "job/2 1", "job/3 3", "job/4 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStatusNeedsNoLeader(t *testing.T) {
	node := serve(t, nil)
	node.Intercept(func(_ context.Context, req any, apply func() error) error {
		if _, ok := req.(transport.StatusRequest); ok {
			return apply()
		}
		return &sema.NotLeaderError{}
	})
	st, err := dial(t, nobody(t), node.addr).Status(within(t, 20*time.Second))
	if err != nil || len(st.Nodes) != 1 {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestTLS(t *testing.T) {
	authority := httptest.NewTLSServer(nil) // for its certificate
	defer authority.Close()
	addr, kill, err := start("127.0.0.1:0", transport.ServerConfig{NodeID: "n1", Backend: new(fakenode.Node),
		TLS: &tls.Config{Certificates: authority.TLS.Certificates}})
	if err != nil {
		t.Fatal(err)
	}
	defer kill()
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate())
	secure := dialWith(t, client.Config{Endpoints: []string{addr}, TLS: &tls.Config{RootCAs: roots}})
	mustAcquire(t, secure, "a")
	if _, err := dial(t, addr).Get(within(t, 300*time.Millisecond), "a"); !errors.Is(err, sema.ErrNoLeader) {
		t.Errorf("without TLS: %v", err)
	}
}

func TestConfigReportsEveryFault(t *testing.T) {
	for _, tc := range []struct {
		what string
		cfg  client.Config
		want []string
	}{
		{"nothing", client.Config{}, []string{"Endpoints"}},
		{"good ones", client.Config{Endpoints: []string{"n1:7400", "10.0.0.1:1", "[::1]:65535"}}, nil},
		{"bad ones", client.Config{Endpoints: []string{"n1", ":7400", "n1:0", "n1:65536", "n1:http", "", "::1:1"}},
			[]string{"Endpoints[0]", "Endpoints[1]", "Endpoints[2]", "Endpoints[3]", "Endpoints[4]", "Endpoints[5]", "Endpoints[6]"}},
		{"the same twice", client.Config{Endpoints: []string{"n1:7400", "n2:7400", "n1:7400"}}, []string{"Endpoints[2]"}},
		{"times", client.Config{Endpoints: []string{"n1:7400"}, TryTimeout: -1, BackoffBase: -1, BackoffMax: -2},
			[]string{"TryTimeout", "BackoffBase", "BackoffMax"}},
		{"a maximum below the base", client.Config{Endpoints: []string{"n1:7400"}, BackoffBase: 2 * time.Second, BackoffMax: time.Second},
			[]string{"BackoffMax"}},
		{"a base above the default maximum", client.Config{Endpoints: []string{"n1:7400"}, BackoffBase: 2 * time.Second}, nil},
	} {
		err := tc.cfg.Validate()
		if len(tc.want) > 0 && !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("%s: %v is not ErrInvalid", tc.what, err)
		}
		var got []string
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				got = append(got, strings.Fields(line)[1])
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: faults in %q, want %q", tc.what, got, tc.want)
		}
		if c, newErr := client.New(tc.cfg); (newErr != nil) != (err != nil) {
			t.Errorf("%s: New says %v", tc.what, newErr)
		} else if c != nil {
			_ = c.Close()
		}
	}
}

func TestClose(t *testing.T) {
	t.Run("is idempotent and ends the client", func(t *testing.T) {
		c := dial(t, serve(t, nil).addr)
		mustAcquire(t, c, "a")
		for range 3 {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := c.Get(t.Context(), "a"); err != sema.ErrClosed {
			t.Errorf("get: %v", err)
		}
		if _, err := c.Acquire(t.Context(), "a", "me", timeout); err != sema.ErrClosed {
			t.Errorf("acquire: %v", err)
		}
	})
	t.Run("ends calls under way", func(t *testing.T) {
		node := serve(t, nil)
		asked := node.hangs()
		c := dial(t, node.addr)
		acquired, got := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := c.Acquire(t.Context(), "a", "me", timeout)
			acquired <- err
		}()
		go func() {
			_, err := c.Get(t.Context(), "a")
			got <- err
		}()
		<-asked
		<-asked
		_ = c.Close()
		if err := <-acquired; !errors.Is(err, sema.ErrOutcomeUnknown) || !errors.Is(err, sema.ErrClosed) {
			t.Errorf("acquire: %v, want ErrOutcomeUnknown because of ErrClosed", err)
		}
		if err := <-got; err != sema.ErrClosed {
			t.Errorf("get: %v, want ErrClosed", err)
		}
	})
	t.Run("ends a pause", func(t *testing.T) {
		node := serve(t, nil)
		asked := make(chan struct{}, 100)
		node.Intercept(func(context.Context, any, func() error) error {
			asked <- struct{}{}
			return sema.ErrOverloaded
		})
		c := dialWith(t, client.Config{Endpoints: []string{node.addr}, BackoffBase: time.Hour})
		got := make(chan error, 1)
		go func() {
			_, err := c.Get(t.Context(), "a")
			got <- err
		}()
		<-asked
		_ = c.Close()
		if err := <-got; err != sema.ErrClosed {
			t.Errorf("get: %v, want ErrClosed", err)
		}
	})
}
