package sema_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/semanode/sema"
)

var statusTexts = map[sema.Status]string{
	1: "ACQUIRED",
	2: "RELEASED_IN_THE_MEAN_TIME",
	3: "OWNED_BY_SOMEONE_ELSE",
	4: "FORCED_RELEASED",
}

func TestStatusTextBothDirections(t *testing.T) {
	for status, text := range statusTexts {
		if got := status.String(); got != text {
			t.Errorf("Status(%d).String() = %q, want %q", uint8(status), got, text)
		}
		parsed, err := sema.ParseStatus(text)
		if err != nil || parsed != status {
			t.Errorf("ParseStatus(%q) = %v, %v", text, parsed, err)
		}
		encoded, err := json.Marshal(status)
		if err != nil || string(encoded) != `"`+text+`"` {
			t.Errorf("json of %v = %s, %v", status, encoded, err)
		}
		var decoded sema.Status
		if err := json.Unmarshal(encoded, &decoded); err != nil || decoded != status {
			t.Errorf("json of %v came back as %v, %v", status, decoded, err)
		}
	}
}

func TestStatusThatIsNone(t *testing.T) {
	for _, status := range []sema.Status{0, 5, 255} {
		if status.Valid() {
			t.Errorf("%v is valid", status)
		}
		if _, err := status.MarshalText(); !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("MarshalText of %v: %v, want ErrInvalid", status, err)
		}
		if _, err := sema.ParseStatus(status.String()); !errors.Is(err, sema.ErrInvalid) {
			t.Errorf("ParseStatus(%q): %v, want ErrInvalid", status.String(), err)
		}
	}
	for _, text := range []string{"", "acquired", " ACQUIRED", "ACQUIRED\x00"} {
		untouched := sema.Acquired
		if err := untouched.UnmarshalText([]byte(text)); !errors.Is(err, sema.ErrInvalid) || untouched != sema.Acquired {
			t.Errorf("UnmarshalText(%q) = %v and left %v", text, err, untouched)
		}
	}
}
