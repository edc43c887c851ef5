package access_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
)

func TestTokens(t *testing.T) {
	seen := map[access.Token]bool{}
	for range 1000 {
		token := access.NewToken()
		if seen[token] {
			t.Fatal("a token twice")
		}
		seen[token] = true
		parsed, err := access.ParseToken(string(token))
		if err != nil || parsed != token {
			t.Fatalf("%q: %q, %v", token, parsed, err)
		}
		if h, ok := access.ParseHash(token.Hash().String()); !ok || h != token.Hash() {
			t.Fatalf("%v: %v, %v", token.Hash(), h, ok)
		}
		// sha256sum of the text tells the hash too.
		if want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(token))); token.Hash().String() != want {
			t.Fatalf("%v, want %s", token.Hash(), want)
		}
	}
}

// TestDamagedTokens: every character counts, and the error shows none of them.
func TestDamagedTokens(t *testing.T) {
	token := string(access.NewToken())
	for i := range token {
		for _, c := range []string{"", "A", "-", "=", "\n", "é"} {
			damaged := token[:i] + c + token[i+1:]
			if damaged == token {
				continue
			}
			_, err := access.ParseToken(damaged)
			if !errors.Is(err, sema.ErrInvalid) || strings.Contains(err.Error(), damaged) {
				t.Fatalf("%q: %v", damaged, err)
			}
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("sema_" + strings.Repeat("A", 48))
	f.Add("sema_" + strings.Repeat("-", 47) + "=")
	f.Add("")
	f.Add(string(access.NewToken()))
	f.Fuzz(func(t *testing.T, text string) {
		if token, err := access.ParseToken(text); err == nil && string(token) != text {
			t.Errorf("%q became %q", text, token)
		}
		if h, ok := access.ParseHash(text); ok && h.String() != text {
			t.Errorf("%q became %v", text, h)
		}
	})
}

// TestRotation: while both hashes stand either token counts, and no other does: not even
// one whose hash begins like a known one.
func TestRotation(t *testing.T) {
	old, young, withdrawn := access.NewToken(), access.NewToken(), access.NewToken()
	near := withdrawn.Hash()
	near[len(near)-1] ^= 1 // in the same bucket, and differs in the last bit
	p := parse(t, `
identities:
  - {name: a, tokens: ["`+old.Hash().String()+`", "`+young.Hash().String()+`"]}
  - {name: b, tokens: ["`+near.String()+`"]}
rules: []`)
	for _, token := range []access.Token{old, young} {
		if id, err := p.ByToken(string(token)); err != nil || id.Name() != "a" {
			t.Errorf("%v: %v", id, err)
		}
	}
	for _, token := range []string{string(withdrawn), string(access.NewToken()), "", "sema_", old.Hash().String()} {
		if id, err := p.ByToken(token); !errors.Is(err, sema.ErrUnauthenticated) || id != nil || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v, %v", token, id, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	p := parse(t, `
identities:
  - {name: a, certificate: {cn: [a], dns: [a.example.com, both.example.com], uri: ["spiffe://x/a"]}}
  - {name: b, certificate: {dns: [b.example.com]}}
rules: []`)
	uri := func(text string) []*url.URL {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	for name, tc := range map[string]struct {
		cert x509.Certificate
		want string
	}{
		"cn":                   {x509.Certificate{Subject: pkix.Name{CommonName: "a"}}, "a"},
		"dns":                  {x509.Certificate{DNSNames: []string{"other", "b.example.com"}}, "b"},
		"uri":                  {x509.Certificate{URIs: uri("spiffe://x/a")}, "a"},
		"all of one":           {x509.Certificate{Subject: pkix.Name{CommonName: "a"}, DNSNames: []string{"a.example.com"}, URIs: uri("spiffe://x/a")}, "a"},
		"of two":               {x509.Certificate{Subject: pkix.Name{CommonName: "a"}, DNSNames: []string{"b.example.com"}}, ""},
		"of one, two and one":  {x509.Certificate{DNSNames: []string{"a.example.com", "b.example.com", "both.example.com"}}, ""},
		"a dns name as cn":     {x509.Certificate{Subject: pkix.Name{CommonName: "a.example.com"}}, ""},
		"a cn as dns name":     {x509.Certificate{DNSNames: []string{"a"}}, ""},
		"none":                 {x509.Certificate{}, ""},
		"another uri":          {x509.Certificate{URIs: uri("spiffe://x/a/b")}, ""},
		"the name, not its cn": {x509.Certificate{Subject: pkix.Name{CommonName: "b"}}, ""},
	} {
		id, err := p.ByCertificate(&tc.cert)
		switch {
		case tc.want == "" && !errors.Is(err, sema.ErrUnauthenticated), tc.want != "" && err != nil, id != nil && id.Name() != tc.want:
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
}
