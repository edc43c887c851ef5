package client_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema/access"
	"github.com/semanode/sema/client"
)

// TestTokenFile: a token that is replaced is shown a second later, and one that is
// damaged never.
func TestTokenFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "token")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		first, second := access.NewToken(), access.NewToken()
		source := client.TokenFile(file)
		if _, err := source(); err == nil {
			t.Error("no file, and a token")
		}
		write(" " + string(first) + "\r\n")
		shows := func(want access.Token) {
			t.Helper()
			if got, err := source(); err != nil || got != string(want) {
				t.Errorf("shows %q, %v, want %q", got, err, want)
			}
		}
		shows(first)
		write(string(second))
		shows(first)
		time.Sleep(time.Second)
		shows(second)
		for _, part := range []string{string(second)[:40], ""} { // it is being written
			write(part)
			time.Sleep(time.Second)
			shows(second)
		}
		write(string(first) + "\n")
		time.Sleep(time.Second)
		shows(first)
		write(string(second)[:40])
		time.Sleep(9 * time.Second)
		shows(first)
		time.Sleep(time.Second)
		if got, err := source(); err == nil {
			t.Errorf("shows %q of a file that was cut off", got)
		}
	})
}

// TestTokenConfig: one that is no token is refused at once.
func TestTokenConfig(t *testing.T) {
	base := client.Config{Endpoints: []string{"127.0.0.1:1"}}
	for _, change := range []func(*client.Config){
		func(c *client.Config) { c.Token = "secret" },
		func(c *client.Config) { c.Token, c.TokenSource = string(access.NewToken()), client.TokenFile("x") },
	} {
		cfg := base
		change(&cfg)
		if err := cfg.Validate(); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
