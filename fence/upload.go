package fence

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// An upload is the body of a request that is inside. Once a higher token waits, it
// gives no more: not even to a handler that hangs in a Read, for a client that
// was stopped, and so does not look at its context.
type upload struct {
	io.ReadCloser
	conn *http.ResponseController

	mu      sync.Mutex
	reading bool
	stale   bool
}

// Read fails with [ErrStale] once the upload was aborted.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	if u.stale {
		u.mu.Unlock()
		return 0, ErrStale
	}
	u.reading = true
	u.mu.Unlock()

	n, err := u.ReadCloser.Read(p)

	u.mu.Lock()
	defer u.mu.Unlock()
	u.reading = false
	if u.stale && err != nil && !errors.Is(err, io.EOF) {
		err = ErrStale
	}
	return n, err
}

// abort must not be called after the handler returned. It does not block.
//
// The deadline is set only if a Read hangs. Over HTTP/1, net/http watches a
// connection whose request it has read to the end for its closing; to that
// watcher a deadline looks like the end, and no later request on the connection
// would have a context that lives. If the Read ends by itself at this moment it
// comes to that all the same, and serve closes the connection when it sees it.
func (u *upload) abort() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stale = true
	if u.reading {
		_ = u.conn.SetReadDeadline(time.Unix(1, 0)) // not supported everywhere
	}
}
