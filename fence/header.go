package fence

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/semanode/sema"
)

// Header carries the token of the sender's hold: decimal digits, once, from 1 to
// 18446744073709551615, without sign, spaces or leading zeros.
const Header = "Sema-Token"

// SetHeader puts the token of the sender's hold, [sema.Info.Token], on a request,
// in place of one that is there. Zero means that there is no hold; the server
// refuses it.
func SetHeader(r *http.Request, token uint64) {
	r.Header.Set(Header, strconv.FormatUint(token, 10))
}

// Require passes on requests that carry a well-formed token, which the handler
// finds with [FromContext], and answers the others itself: 428 if there is no
// token, 400 if it is malformed, zero, too large or given twice; see [Status].
//
// It compares nothing. It is for handlers whose database does, in the same
// statement or transaction as the write; see [Advance]. Otherwise use a [Gate].
func Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := parse(r.Header.Values(Header))
		if err != nil {
			refuse(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tokenKey{}, token)))
	})
}

// FromContext returns the token of the request that a handler behind [Require] or
// a [Gate] serves; ok is false elsewhere, and the token zero.
func FromContext(ctx context.Context) (token uint64, ok bool) {
	token, ok = ctx.Value(tokenKey{}).(uint64)
	return token, ok
}

type tokenKey struct{}

// parse takes one spelling of a number and no other, so that whatever else reads
// the header on its way (a proxy, a log, a database) reads the same number.
func parse(values []string) (uint64, error) {
	switch len(values) {
	case 0:
		return 0, ErrMissing
	case 1:
	default:
		return 0, malformed(fmt.Sprintf("(%d headers)", len(values)))
	}
	text := values[0]
	token, err := strconv.ParseUint(text, 10, 64) // digits and nothing else
	if err != nil || text[0] == '0' {
		return 0, malformed(text)
	}
	return token, nil
}

func malformed(value string) error {
	const most = 32
	if len(value) > most {
		value = fmt.Sprintf("%s... (%d bytes)", value[:most], len(value))
	}
	return &sema.InvalidError{Field: Header, Value: value,
		Limit: "one header, 1 to 18446744073709551615 in decimal digits, no leading zero"}
}
