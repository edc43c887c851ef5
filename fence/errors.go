package fence

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/semanode/sema"
)

var (
	// ErrStale: a higher token was seen, so somebody else has held the
	// semaphore since. Nothing was changed. The same token will never be
	// accepted again: stop, and acquire again.
	ErrStale = errors.New("fence: stale token: somebody else has held the semaphore since, acquire again")
	// ErrMissing: the request carries no token. Nothing was changed.
	ErrMissing = fmt.Errorf("fence: no token: send the token of your hold in the header %s", Header)
)

// Status is the HTTP status code for an error of this package, the same for
// [Require], [Gate] and handlers that meet [ErrStale] in their database:
//
//   - [ErrMissing]: 428 Precondition Required. RFC 6585, section 3, made it
//     against lost updates, for servers that take conditional requests only.
//   - [sema.ErrInvalid]: 400 Bad Request. The token or the resource's name could
//     not be read.
//   - [ErrStale]: 412 Precondition Failed. The condition in the request's header
//     is false (RFC 9110, section 15.5.13). Not 409 Conflict, which invites the
//     sender to settle the conflict and send it again: this token never will do.
//   - everything else: 503 Service Unavailable. The highest token could not be
//     read or kept, or the request ended before its turn came.
//
// It is 200 for nil.
func Status(err error) int {
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, ErrStale):
		return http.StatusPreconditionFailed
	case errors.Is(err, ErrMissing):
		return http.StatusPreconditionRequired
	case errors.Is(err, sema.ErrInvalid):
		return http.StatusBadRequest
	default:
		return http.StatusServiceUnavailable
	}
}

// refuse answers a request that was not passed on. What a store says of itself
// (addresses, users) is not for clients to read; who wants to log it wraps the
// [Store].
func refuse(w http.ResponseWriter, err error) {
	code := Status(err)
	text := err.Error()
	if code == http.StatusServiceUnavailable {
		text = "fence: the token could not be checked and nothing was written, try again"
	}
	http.Error(w, text, code)
}

func stale(resource string, token, highest uint64) error {
	return fmt.Errorf("%w (resource %q, token %d, highest seen %d)", ErrStale, resource, token, highest)
}

func checkResource(resource string) error {
	var invalid *sema.InvalidError
	if errors.As(sema.ValidateName(resource), &invalid) {
		invalid.Field = "resource"
		return invalid
	}
	return nil
}
