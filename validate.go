package sema

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The limits of the contract.
const (
	MaxNameBytes  = 512 // longest name, in bytes of UTF-8
	MaxOwnerBytes = 256 // longest owner, in bytes of UTF-8
	MinTimeout    = 100 * time.Millisecond
	MaxTimeout    = 7 * 24 * time.Hour // longest timeout
)

// Validate checks the arguments of an acquire and returns every fault it
// finds, joined; each is an [InvalidError].
func Validate(name, owner string, timeout time.Duration) error {
	return errors.Join(ValidateName(name), ValidateOwner(owner), ValidateTimeout(timeout))
}

// ValidateName checks a semaphore's name: 1 to 512 bytes of UTF-8 without
// control characters.
func ValidateName(name string) error { return validateText("name", name, MaxNameBytes) }

// ValidateOwner checks an owner: 1 to 256 bytes of UTF-8 without control
// characters.
func ValidateOwner(owner string) error { return validateText("owner", owner, MaxOwnerBytes) }

// ValidateTimeout checks a timeout: 100 ms to 7 days.
func ValidateTimeout(timeout time.Duration) error {
	if timeout < MinTimeout || timeout > MaxTimeout {
		return &InvalidError{Field: "timeout", Value: timeout.String(), Limit: "100ms to 168h (7 days)"}
	}
	return nil
}

func validateText(field, text string, max int) error {
	if len(text) >= 1 && len(text) <= max && (plain(text) || utf8.ValidString(text) && strings.IndexFunc(text, unicode.IsControl) < 0) {
		return nil
	}
	return &InvalidError{Field: field, Value: clip(text),
		Limit: fmt.Sprintf("1 to %d bytes of UTF-8 without control characters", max)}
}

// plain reports whether text is printable ASCII, as names mostly are: every node looks at
// each name of each command.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// clip shortens text that is only shown, so that an error never carries
// megabytes of what it refuses, and makes it valid UTF-8, so that it can travel.
func clip(text string) string {
	const most = 64
	if len(text) > most {
		text = fmt.Sprintf("%s… (%d bytes)", text[:most], len(text))
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
