package transport

import (
	"errors"
	"strconv"

	"github.com/semanode/sema"
)

func invalidInt(field string, value int, limit string) error {
	return &sema.InvalidError{Field: field, Value: strconv.Itoa(value), Limit: limit}
}

// renameField gives the fault of a text that is checked like a name its own
// field's name.
func renameField(field string, err error) error {
	var invalid *sema.InvalidError
	if !errors.As(err, &invalid) {
		return err
	}
	renamed := *invalid
	renamed.Field = field
	return &renamed
}

func validateAttempt(a sema.Attempt) error {
	switch {
	case a.Client.IsZero() && (a.Seq != 0 || a.LowestOpen != 0):
		return &sema.InvalidError{Field: "attempt.client", Value: "", Limit: "16 bytes, not all zero, where seq or lowest_open is given"}
	case a.Seq != 0 && a.LowestOpen > a.Seq,
		a.Seq != 0 && a.Seq-a.LowestOpen >= sema.MaxOpenAttempts:
		return &sema.InvalidError{Field: "attempt.lowest_open", Value: strconv.FormatUint(a.LowestOpen, 10),
			Limit: "at most seq and at least seq - 1023"}
	}
	return nil
}
