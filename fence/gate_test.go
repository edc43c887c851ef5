package fence_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/semanode/sema/fence"
)

func byPath(r *http.Request) string { return r.URL.Path }

func wantCode(t *testing.T, what string, w *httptest.ResponseRecorder, code int) {
	t.Helper()
	if w.Code != code {
		t.Errorf("%s was answered with %d %s, want %d", what, w.Code, strings.TrimSpace(w.Body.String()), code)
	}
}

func TestStaleIsRefusedEqualAndHigherPass(t *testing.T) {
	gate := fence.Gate{Resource: byPath}
	h := gate.Wrap(echo)
	for _, step := range []struct {
		path, token string
		code        int
	}{
		{"/a", "5", 200},
		{"/a", "5", 200},
		{"/a", "4", 412},
		{"/a", "9", 200},
		{"/a", "8", 412},
		{"/a", "5", 412},
		{"/a", "9", 200},
		{"/b", "1", 200}, // another resource, another highest
		{"/a", "18446744073709551615", 200},
		{"/a", "18446744073709551614", 412},
	} {
		wantCode(t, "token "+step.token+" on "+step.path, send(h, step.path, step.token), step.code)
	}
	if n := gate.Rooms(); n != 0 {
		t.Errorf("the gate itself keeps %d resources while nobody is inside", n)
	}
}

func TestOneResourceUnlessTold(t *testing.T) {
	var gate fence.Gate
	h := gate.Wrap(echo)
	wantCode(t, "token 5", send(h, "/a", "5"), 200)
	wantCode(t, "token 4 on another path", send(h, "/b", "4"), 412)
}

func TestBadResourceIsRefused(t *testing.T) {
	for _, resource := range []string{"", strings.Repeat("x", 513), "a\x00b", "a\nb", "\xff"} {
		gate := fence.Gate{Resource: func(*http.Request) string { return resource }}
		w := send(gate.Wrap(echo), "/", "5")
		wantCode(t, "a bad name of a resource", w, 400)
		if !strings.Contains(w.Body.String(), "invalid resource") {
			t.Errorf("the answer does not say what is wrong: %s", w.Body)
		}
	}
}

// The handlers behind one gate share what it knows, and a handler may be behind
// it twice.
func TestWrapSharesAndNests(t *testing.T) {
	var gate fence.Gate
	put, del := gate.Wrap(gate.Wrap(echo)), gate.Wrap(echo)
	wantCode(t, "a put with 5", send(put, "/", "5"), 200)
	wantCode(t, "a delete with 4", send(del, "/", "4"), 412)
}

func TestPanicLeavesTheGateOpen(t *testing.T) {
	var gate fence.Gate
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("the handler's panic did not pass through")
			}
		}()
		send(gate.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })), "/", "5")
	}()
	wantCode(t, "the next holder", send(gate.Wrap(echo), "/", "6"), 200)
	wantCode(t, "the one that panicked", send(gate.Wrap(echo), "/", "5"), 412)
}

// A connection whose requests are dead when they come is of no use to anybody.
func TestDeadRequestClosesItsConnection(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	end()
	r := httptest.NewRequestWithContext(ctx, http.MethodPut, "/", nil)
	fence.SetHeader(r, 5)
	w := httptest.NewRecorder()
	new(fence.Gate).Wrap(echo).ServeHTTP(w, r)
	wantCode(t, "a dead request", w, 503)
	if got := w.Header().Get("Connection"); got != "close" {
		t.Errorf("the answer says Connection: %q, want close", got)
	}
}

// visitor is a handler whose requests stay inside until they are told to go on.
type visitor struct {
	h       http.Handler
	entered map[string]bool
	ctx     map[string]context.Context
	done    map[string]chan struct{}
}

func newVisitor(gate *fence.Gate) *visitor {
	v := &visitor{entered: map[string]bool{}, ctx: map[string]context.Context{}, done: map[string]chan struct{}{}}
	v.h = gate.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := r.Header.Get("Who")
		v.entered[who], v.ctx[who] = true, r.Context()
		<-v.done[who]
	}))
	return v
}

// come sends a request and returns when it is inside, waits or was answered.
func (v *visitor) come(ctx context.Context, who, path, token string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	w.Code = 0 // no answer yet
	v.done[who] = make(chan struct{})
	r := httptest.NewRequestWithContext(ctx, http.MethodPut, path, nil)
	r.Header.Set(fence.Header, token)
	r.Header.Set("Who", who)
	go func() {
		v.h.ServeHTTP(w, r)
		if w.Code == 0 {
			w.Code = 200
		}
	}()
	synctest.Wait()
	return w
}

func (v *visitor) finish(who string) {
	close(v.done[who])
	synctest.Wait()
}

// The bug that a plain comparison leaves: the old request was let in before the
// new one came, and writes after it.
func TestNewerWaitsUntilOlderIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := fence.Gate{}
		v := newVisitor(&gate)
		old := v.come(t.Context(), "old", "/", "5")
		newer := v.come(t.Context(), "newer", "/", "7")
		if !v.entered["old"] || v.entered["newer"] {
			t.Fatalf("inside are %v, want the old one alone", v.entered)
		}
		if cause := context.Cause(v.ctx["old"]); cause != fence.ErrStale {
			t.Errorf("the old one was told %v, want ErrStale", cause)
		}
		late := v.come(t.Context(), "late", "/", "5")
		wantCode(t, "a lower token while a higher one waits", late, 412)
		v.finish("old")
		if !v.entered["newer"] {
			t.Fatal("the newer one is still outside after the old one left")
		}
		if err := v.ctx["newer"].Err(); err != nil {
			t.Errorf("the newer one was told %v while it was the newest", err)
		}
		v.finish("newer")
		wantCode(t, "the old one, which was in time", old, 200)
		wantCode(t, "the newer one", newer, 200)
		if n := gate.Rooms(); n != 0 {
			t.Errorf("the gate keeps %d resources after all have left", n)
		}
	})
}

func TestEqualTokensRunSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(&fence.Gate{})
		v.come(t.Context(), "one", "/", "5")
		v.come(t.Context(), "two", "/", "5")
		if !v.entered["one"] || !v.entered["two"] {
			t.Fatalf("inside are %v, want both", v.entered)
		}
		v.come(t.Context(), "newer", "/", "6")
		v.finish("one")
		if v.entered["newer"] {
			t.Error("the newer one came in before the last of the older ones had left")
		}
		v.finish("two")
		if !v.entered["newer"] {
			t.Error("the newer one is still outside")
		}
		v.finish("newer")
	})
}

func TestResourcesDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(&fence.Gate{Resource: byPath})
		v.come(t.Context(), "one", "/a", "5")
		v.come(t.Context(), "two", "/b", "7")
		if !v.entered["one"] || !v.entered["two"] || v.ctx["one"].Err() != nil {
			t.Errorf("inside are %v, the first was told %v; want both, and nothing", v.entered, v.ctx["one"].Err())
		}
		v.finish("one")
		v.finish("two")
	})
}

// The one in the middle is refused at once, and its leaving lets nobody in.
func TestOnlyTheHighestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(&fence.Gate{})
		v.come(t.Context(), "old", "/", "5")
		middle := v.come(t.Context(), "middle", "/", "7")
		newest := v.come(t.Context(), "newest", "/", "9")
		wantCode(t, "the one in the middle", middle, 412)
		if v.entered["middle"] || v.entered["newest"] {
			t.Fatalf("inside are %v, want the old one alone", v.entered)
		}
		v.finish("old")
		if v.entered["middle"] || !v.entered["newest"] {
			t.Errorf("inside were %v, want the old one and then the newest", v.entered)
		}
		v.finish("newest")
		wantCode(t, "the newest", newest, 200)
	})
}

func TestWaiterThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := fence.Gate{}
		v := newVisitor(&gate)
		v.come(t.Context(), "old", "/", "5")
		ctx, giveUp := context.WithCancel(t.Context())
		newer := v.come(ctx, "newer", "/", "7")
		giveUp()
		synctest.Wait()
		wantCode(t, "the one that gave up", newer, 503)
		v.finish("old")
		if v.entered["newer"] || gate.Rooms() != 0 {
			t.Errorf("inside were %v, and the gate keeps %d resources; want the old one, and none", v.entered, gate.Rooms())
		}
	})
}

// failing is a store that is out of order.
type failing struct{ err error }

func (f failing) Advance(context.Context, string, uint64) error { return f.err }

func TestNothingRunsWithoutTheStore(t *testing.T) {
	gate := fence.Gate{Store: failing{errors.New("dial db-1.internal: connection refused")}}
	ran := false
	w := send(gate.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })), "/", "5")
	wantCode(t, "a request whose token could not be kept", w, 503)
	if ran {
		t.Error("the handler ran")
	}
	if strings.Contains(w.Body.String(), "db-1") {
		t.Errorf("the client was told about the store's inside: %s", w.Body)
	}
}

// hanging is a store whose first call lasts until its context ends.
type hanging struct {
	fence.Memory
	calls int
}

func (h *hanging) Advance(ctx context.Context, resource string, token uint64) error {
	if h.calls++; h.calls == 1 {
		<-ctx.Done()
	}
	return h.Memory.Advance(ctx, resource, token)
}

func TestSupersededAtTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(&fence.Gate{Store: &hanging{}})
		old := v.come(t.Context(), "old", "/", "5")
		v.come(t.Context(), "newer", "/", "7")
		wantCode(t, "the old one, superseded while the store worked", old, 412)
		if v.entered["old"] || !v.entered["newer"] {
			t.Errorf("inside were %v, want the newer one alone", v.entered)
		}
		v.finish("newer")
	})
}
