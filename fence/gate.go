package fence

import (
	"context"
	"net/http"
	"sync"
)

// Gate guards resources to which one process is the only way. It is an HTTP
// middleware, see [Gate.Wrap], that checks and writes in one step: from the check
// of a request until its handler has returned, no request with another token is
// let in to the same resource.
//
//   - A lower token than the highest seen is refused, with 412.
//   - Equal tokens are one holder's own requests and run side by side.
//   - A higher token closes the resource to lower ones at once, and waits until
//     those inside have returned. They are told: their context is cancelled with
//     cause [ErrStale], and so fails the reading of their body, also a Read that
//     hangs, where the ResponseWriter can set a read deadline (as those of
//     net/http can). So a client that stopped in the middle of an upload does
//     not keep others out. A client that does not read its answer can: set
//     http.Server.WriteTimeout.
//
// The zero value is ready to use, its methods may be called from many
// goroutines, and it must not be copied. All handlers that write to a resource
// belong behind the same Gate.
//
// With several processes in front of one resource, a Gate in each is not enough,
// not even with a common [Store]: the one would check while the other writes. Use
// [Require], and check in the database.
//
// Memory grows with the requests that are being served or wait, plus what the
// Store keeps.
type Gate struct {
	// Resource tells what a request writes to: 1 to 512 bytes of UTF-8 without
	// control characters, as for a semaphore's name, which is the natural
	// choice. It must be one name per resource, so beware of paths that lead to
	// the same place, and it must not be the client's to choose freely.
	// If nil, everything behind the gate is one resource, named "all".
	Resource func(*http.Request) string
	// Store keeps the highest token of each resource. If nil, a [Memory] of
	// the gate's own: then a restart forgets, and the first token that comes
	// after it is accepted, however old.
	Store Store

	own Memory

	mu    sync.Mutex
	rooms map[string]*room // only resources with somebody inside or waiting
}

// Wrap returns a handler that passes requests on to next while their token is the
// highest of their resource. next finds the token with [FromContext], and must
// have written, or never write, by the time it returns: http.TimeoutHandler, which
// returns before its handler does, belongs around the gate and not inside it.
//
// Requests without a good token are answered as by [Require]. 412 is the answer to
// a stale token, 503 if the Store failed or the request's context ended before its
// turn came; see [Status]. next has not run then. A panic of next passes through.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.serve(w, r, next); err != nil {
			refuse(w, err)
		}
	}))
}

// serve returns an error if, and only if, next has not run.
func (g *Gate) serve(w http.ResponseWriter, r *http.Request, next http.Handler) error {
	resource := g.resource(r)
	if err := checkResource(resource); err != nil {
		return err
	}
	if err := context.Cause(r.Context()); err != nil {
		w.Header().Set("Connection", "close") // see upload.abort
		return err
	}
	token, _ := FromContext(r.Context())
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(context.Canceled)
	v := &visit{token: token, cancel: cancel}
	if r = r.WithContext(ctx); r.Body != nil && r.Body != http.NoBody {
		v.body = &upload{ReadCloser: r.Body, conn: http.NewResponseController(w)}
		r.Body = v.body
	}
	if err := g.enter(ctx, resource, v); err != nil {
		return err
	}
	defer g.leave(resource, v)
	if err := g.advance(ctx, resource, token); err != nil {
		return err
	}
	next.ServeHTTP(w, r)
	return nil
}

// advance fails too if ctx has ended by then: superseded, or its client is gone.
func (g *Gate) advance(ctx context.Context, resource string, token uint64) error {
	store := g.Store
	if store == nil {
		store = &g.own
	}
	err := store.Advance(ctx, resource, token)
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (g *Gate) resource(r *http.Request) string {
	if g.Resource == nil {
		return "all"
	}
	return g.Resource(r)
}
