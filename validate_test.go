package sema_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/semanode/sema"
)

func TestValidate(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	const ok = time.Second
	for _, tc := range []struct {
		what        string
		name, owner string
		timeout     time.Duration
		refused     []string // fields
	}{
		{"the least", "n", "o", 100 * time.Millisecond, nil},
		{"the most", long(512), long(256), 7 * 24 * time.Hour, nil},
		{"spaces and letters of any script", " a b/Ω·日本 ", "née@host:1", ok, nil},
		{"empty texts", "", "", ok, []string{"name", "owner"}},
		{"too long", long(513), long(257), ok, []string{"name", "owner"}},
		{"bytes count, not letters", strings.Repeat("Ω", 257), strings.Repeat("Ω", 129), ok, []string{"name", "owner"}},
		{"not UTF-8", "a\xff", "\xc3\x28", ok, []string{"name", "owner"}},
		{"control characters", "a\nb", "\x7f", ok, []string{"name", "owner"}},
		{"control characters beyond ASCII", "a\u0085", "\u009fb", ok, []string{"name", "owner"}},
		{"NUL", "\x00", "o", ok, []string{"name"}},
		{"too short a time", "n", "o", 100*time.Millisecond - 1, []string{"timeout"}},
		{"too long a time", "n", "o", 7*24*time.Hour + 1, []string{"timeout"}},
		{"negative time", "n", "o", -time.Second, []string{"timeout"}},
		{"everything at once", "", long(999), 0, []string{"name", "owner", "timeout"}},
	} {
		err := sema.Validate(tc.name, tc.owner, tc.timeout)
		var got []string
		for _, fault := range invalid(err) {
			got = append(got, fault.Field)
			if fault.Limit == "" || len(fault.Value) > 100 || !utf8.ValidString(fault.Value) {
				t.Errorf("%s: fault %+v", tc.what, fault)
			}
		}
		if strings.Join(got, " ") != strings.Join(tc.refused, " ") {
			t.Errorf("%s: refused %q, want %q", tc.what, got, tc.refused)
		}
		if (err != nil) != errors.Is(err, sema.ErrInvalid) {
			t.Errorf("%s: %v is not ErrInvalid", tc.what, err)
		}
	}
}

func TestInvalidErrorTellsFieldValueAndLimit(t *testing.T) {
	err := sema.ValidateTimeout(time.Millisecond)
	if want := `invalid timeout "1ms": want 100ms to 168h (7 days)`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	err = sema.ValidateName(strings.Repeat("Ω", 1<<20))
	if text := err.Error(); len(text) > 300 || !strings.Contains(text, "2097152 bytes") {
		t.Errorf("a megabyte refused: %.400q", text)
	}
}

func FuzzValidateName(f *testing.F) {
	for _, seed := range []string{"", "a", "a\nb", "\xff", strings.Repeat("é", 256), strings.Repeat("é", 257)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := sema.ValidateName(name)
		fine := name != "" && len(name) <= 512 && utf8.ValidString(name)
		for _, r := range name {
			fine = fine && !unicode.IsControl(r)
		}
		if fine != (err == nil) {
			t.Fatalf("ValidateName(%q) = %v", name, err)
		}
		if err != nil && !utf8.ValidString(err.Error()) {
			t.Fatalf("the error for %q cannot travel: %q", name, err)
		}
	})
}

// invalid returns every InvalidError that err joins.
func invalid(err error) (all []*sema.InvalidError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			all = append(all, invalid(err)...)
		}
		return all
	}
	var one *sema.InvalidError
	if errors.As(err, &one) {
		all = append(all, one)
	}
	return all
}
