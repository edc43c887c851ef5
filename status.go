package sema

import "fmt"

// Status is the answer to an acquire. The numbers are part of the contract.
type Status uint8

const (
	// Acquired: it is yours; Info.Token proves it.
	Acquired Status = 1
	// ReleasedInTheMeanTime: it was overdue when looked at, and gone by the
	// time the cluster decided. It is not yours. Try again at once.
	ReleasedInTheMeanTime Status = 2
	// OwnedBySomeoneElse: Info tells who, since when and until when.
	OwnedBySomeoneElse Status = 3
	// ForcedReleased: the hold was overdue and this call ended it. The
	// semaphore is free, not yours, or went to the head of its line; Info
	// describes the hold that was ended: its owner most likely died at work.
	// Try again at once.
	ForcedReleased Status = 4
)

var statusTexts = [...]string{
	Acquired:              "ACQUIRED",
	ReleasedInTheMeanTime: "RELEASED_IN_THE_MEAN_TIME",
	OwnedBySomeoneElse:    "OWNED_BY_SOMEONE_ELSE",
	ForcedReleased:        "FORCED_RELEASED",
}

// String returns the text form, such as "ACQUIRED", and "Status(n)" for a
// number that is none of the four.
func (s Status) String() string {
	if !s.Valid() {
		return fmt.Sprintf("Status(%d)", uint8(s))
	}
	return statusTexts[s]
}

// Valid reports whether s is one of the four statuses.
func (s Status) Valid() bool { return s >= Acquired && s <= ForcedReleased }

// ParseStatus is the inverse of String for the four statuses. Anything else is
// [ErrInvalid].
func ParseStatus(text string) (Status, error) {
	for s := Acquired; s <= ForcedReleased; s++ {
		if statusTexts[s] == text {
			return s, nil
		}
	}
	return 0, &InvalidError{Field: "status", Value: clip(text),
		Limit: "ACQUIRED, RELEASED_IN_THE_MEAN_TIME, OWNED_BY_SOMEONE_ELSE or FORCED_RELEASED"}
}

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) {
	if !s.Valid() {
		return nil, &InvalidError{Field: "status", Value: s.String(), Limit: "1 to 4"}
	}
	return []byte(s.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Status) UnmarshalText(text []byte) error {
	parsed, err := ParseStatus(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
