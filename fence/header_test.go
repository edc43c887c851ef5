package fence_test

import (
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fence"
)

// echo answers with the token that the middleware found.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	token, ok := fence.FromContext(r.Context())
	if !ok {
		http.Error(w, "no token in the context", http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(strconv.AppendUint(nil, token, 10))
})

// send serves one PUT that carries the headers, without a network.
func send(h http.Handler, path string, tokens ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPut, path, nil)
	for _, token := range tokens {
		r.Header.Add(fence.Header, token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHeaderIsParsedStrictly(t *testing.T) {
	for name, c := range map[string]struct {
		headers []string
		code    int
	}{
		"missing":                    {nil, 428},
		"one":                        {[]string{"1"}, 200},
		"largest":                    {[]string{"18446744073709551615"}, 200},
		"empty":                      {[]string{""}, 400},
		"zero":                       {[]string{"0"}, 400},
		"zeros":                      {[]string{"00"}, 400},
		"leading zero":               {[]string{"01"}, 400},
		"plus":                       {[]string{"+1"}, 400},
		"minus":                      {[]string{"-1"}, 400},
		"space before":               {[]string{" 1"}, 400},
		"space after":                {[]string{"1 "}, 400},
		"space between":              {[]string{"1 2"}, 400},
		"list":                       {[]string{"1,2"}, 400},
		"hexadecimal":                {[]string{"0x1"}, 400},
		"hexadecimal digits":         {[]string{"ff"}, 400},
		"underscore":                 {[]string{"1_000"}, 400},
		"fraction":                   {[]string{"1.0"}, 400},
		"exponent":                   {[]string{"1e3"}, 400},
		"quoted":                     {[]string{`"1"`}, 400},
		"other digits":               {[]string{"١"}, 400},
		"NUL":                        {[]string{"1\x00"}, 400},
		"one above the largest":      {[]string{"18446744073709551616"}, 400},
		"20 digits":                  {[]string{"99999999999999999999"}, 400},
		"wraps around to 1":          {[]string{"18446744073709551617"}, 400},
		"huge":                       {[]string{strings.Repeat("9", 1<<20)}, 400},
		"twice":                      {[]string{"1", "2"}, 400},
		"twice the same":             {[]string{"1", "1"}, 400},
		"a good one and an empty":    {[]string{"1", ""}, 400},
		"a good one among a hundred": {append(make([]string, 99), "1"), 400},
	} {
		t.Run(name, func(t *testing.T) {
			for which, h := range map[string]http.Handler{"Require": fence.Require(echo), "Gate": new(fence.Gate).Wrap(echo)} {
				w := send(h, "/", c.headers...)
				if w.Code != c.code {
					t.Errorf("%s answered %d %s, want %d", which, w.Code, w.Body, c.code)
				}
				if c.code == 200 && w.Body.String() != c.headers[0] {
					t.Errorf("%s gave the handler token %s, want %s", which, w.Body, c.headers[0])
				}
				if w.Body.Len() > 300 {
					t.Errorf("%s sent %d bytes of what it refused back", which, w.Body.Len())
				}
			}
		})
	}
}

func TestSetHeaderReplaces(t *testing.T) {
	for _, token := range []uint64{1, math.MaxInt64 + 1, math.MaxUint64} {
		r := httptest.NewRequest(http.MethodPut, "/", nil)
		fence.SetHeader(r, 7)
		fence.SetHeader(r, token)
		w := httptest.NewRecorder()
		fence.Require(echo).ServeHTTP(w, r)
		if got, want := w.Body.String(), strconv.FormatUint(token, 10); got != want {
			t.Errorf("the server read %s, want %s", got, want)
		}
	}
}

func TestNoHoldIsRefused(t *testing.T) {
	r := httptest.NewRequest(http.MethodPut, "/", nil)
	fence.SetHeader(r, sema.Info{}.Token)
	w := httptest.NewRecorder()
	fence.Require(echo).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("the token of no hold was answered with %d, want 400", w.Code)
	}
}

func TestNoTokenInAnyOtherContext(t *testing.T) {
	if token, ok := fence.FromContext(t.Context()); token != 0 || ok {
		t.Errorf("FromContext = %d, %v outside the middleware", token, ok)
	}
}

func TestStatus(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
	}{
		{nil, 200},
		{fence.ErrMissing, 428},
		{errors.Join(errors.New("write invoice"), fence.ErrStale), 412},
		{&sema.InvalidError{Field: "resource"}, 400},
		{errors.New("connection refused"), 503},
	} {
		if got := fence.Status(c.err); got != c.code {
			t.Errorf("Status(%v) = %d, want %d", c.err, got, c.code)
		}
	}
}

// FuzzHeader: whatever is accepted is the one spelling of its number.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"", "0", "1", "+1", " 1", "01", "18446744073709551615", "18446744073709551616"} {
		f.Add(seed)
	}
	h := fence.Require(echo)
	f.Fuzz(func(t *testing.T, text string) {
		w := send(h, "/", text)
		token, err := strconv.ParseUint(text, 10, 64)
		good := err == nil && token > 0 && strconv.FormatUint(token, 10) == text
		if good != (w.Code == http.StatusOK) || good && w.Body.String() != text {
			t.Errorf("%q was answered with %d %q", text, w.Code, w.Body)
		}
		if !good && w.Code != http.StatusBadRequest {
			t.Errorf("%q was answered with %d, want 400", text, w.Code)
		}
	})
}
