package fence_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema/fence"
)

// A holder that is stopped in the middle of its upload does not keep the next one
// out: its handler, which waits for the rest, is told by the read itself.
func TestStoppedUploadDoesNotBlock(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			reading := make(chan error, 2)
			var gate fence.Gate
			server := httptest.NewUnstartedServer(gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != name {
					t.Errorf("the request came over %s", r.Proto)
				}
				if _, err := r.Body.Read(make([]byte, 4)); err != nil && err != io.EOF {
					t.Error(err)
				}
				reading <- nil
				if _, err := io.ReadAll(r.Body); err != nil {
					if context.Cause(r.Context()) != fence.ErrStale {
						t.Errorf("the old one's context: %v, want ErrStale as its cause", context.Cause(r.Context()))
					}
					if _, again := r.Body.Read(make([]byte, 1)); again != fence.ErrStale {
						t.Errorf("the old one reads again: %v, want ErrStale", again)
					}
					reading <- err
					http.Error(w, "half a body", http.StatusBadRequest)
				}
			})))
			server.EnableHTTP2 = http2
			server.StartTLS()
			defer server.Close()

			body, more := io.Pipe()
			var wait sync.WaitGroup
			defer wait.Wait()
			defer more.Close()
			wait.Go(func() {
				if code, err := put(t.Context(), server, server.Client(), 5, body); err == nil && code == http.StatusOK {
					t.Error("half an upload was answered with 200")
				}
			})
			if _, err := more.Write([]byte("half")); err != nil {
				t.Fatal(err)
			}
			<-reading // the old one is inside and waits for the other half

			code, err := put(t.Context(), server, server.Client(), 7, strings.NewReader("whole"))
			if err != nil || code != http.StatusOK {
				t.Errorf("the next holder was answered with %d, %v", code, err)
			}
			if err := <-reading; !errors.Is(err, fence.ErrStale) {
				t.Errorf("the old one's read ended with %v, want ErrStale", err)
			}
		})
	}
}

// An older one that has read its whole request is told, but not cut off: what it
// did in time is answered, and its connection goes on.
func TestSupersededIsStillAnswered(t *testing.T) {
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(name, func(t *testing.T) {
			inside := make(chan struct{}, 1)
			var gate fence.Gate
			server := httptest.NewUnstartedServer(gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.ReadAll(r.Body); err != nil {
					t.Error(err)
				}
				if token, _ := fence.FromContext(r.Context()); token == 5 {
					inside <- struct{}{}
					<-r.Context().Done()
				}
			})))
			server.EnableHTTP2 = http2
			server.StartTLS()
			defer server.Close()
			older := &http.Client{Transport: server.Client().Transport.(*http.Transport).Clone()}
			defer older.CloseIdleConnections()

			var wait sync.WaitGroup
			wait.Go(func() {
				for _, token := range []uint64{5, 9} { // the second on the same connection
					code, err := put(t.Context(), server, older, token, strings.NewReader("whole"))
					if err != nil || code != http.StatusOK {
						t.Errorf("token %d was answered with %d, %v", token, code, err)
					}
				}
			})
			<-inside
			if code, err := put(t.Context(), server, server.Client(), 7, nil); err != nil || code != 200 && code != 412 {
				t.Errorf("the next holder was answered with %d, %v", code, err)
			}
			wait.Wait()
		})
	}
}

// put fails after a while, so that a gate that never opens is seen.
func put(ctx context.Context, server *httptest.Server, client *http.Client, token uint64, body io.Reader) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, server.URL, body)
	if err != nil {
		return 0, err
	}
	fence.SetHeader(r, token)
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

// What net/http does with a header before the gate sees it.
func TestHeaderOverTheNetwork(t *testing.T) {
	server := httptest.NewServer(new(fence.Gate).Wrap(echo))
	defer server.Close()
	for _, c := range []struct {
		value []string
		code  int
	}{
		{[]string{"7"}, 200},
		{[]string{"  7\t"}, 200}, // space around a value is no part of it (RFC 9110, 5.5)
		{[]string{"6"}, 412},
		{[]string{"7", "7"}, 400},
		{nil, 428},
		{[]string{string(bytes.Repeat([]byte("7"), 2<<20))}, 431}, // refused by the server, see MaxHeaderBytes
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["sema-token"] = c.value // any case will do
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != c.code {
			t.Errorf("%.20q was answered with %d, want %d", c.value, answer.StatusCode, c.code)
		}
	}
}

// TestNeverTwoTokensInside sends tokens in random order from many goroutines and
// lets the handlers watch that theirs stays the last word while they are inside.
func TestNeverTwoTokensInside(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	last := map[string]uint64{}
	gate := fence.Gate{Resource: byPath}
	h := gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := fence.FromContext(r.Context())
		look := func(what string, want func(uint64) bool) {
			mu.Lock()
			defer mu.Unlock()
			if got := last[r.URL.Path]; !want(got) {
				t.Errorf("%s: token %d found %d", what, token, got)
			}
			last[r.URL.Path] = token
		}
		look("when it came in", func(got uint64) bool { return got <= token })
		for range 20 {
			runtime.Gosched()
			look("while it was inside", func(got uint64) bool { return got == token })
		}
	}))
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(worker)))
			for i := range 200 {
				token := uint64(1+i) + random.Uint64N(50)
				r := httptest.NewRequest(http.MethodPut, []string{"/a", "/b"}[random.IntN(2)], nil)
				fence.SetHeader(r, token)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 200 && w.Code != 412 {
					t.Errorf("token %d was answered with %d %s", token, w.Code, w.Body)
				}
			}
		})
	}
	wait.Wait()
	if n := gate.Rooms(); n != 0 {
		t.Errorf("the gate keeps %d resources after all have left", n)
	}
}
