package backup_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/fsm"
)

var header = backup.Header{
	ClusterID:   [16]byte{1, 2, 3},
	ClusterName: "prod",
	NodeID:      "n2",
	Source:      backup.Leader,
	Taken:       time.Unix(1_700_000_000, 5).UTC(),
	Facts:       fsm.Facts{Index: 7, Term: 2, Clock: 99, LastToken: 41, Holds: 3, Waiting: 1, Clients: 2},
	Members:     []backup.Member{{ID: "n1", RaftAddr: "10.0.0.1:7373", Voter: true}, {ID: "n2", RaftAddr: "10.0.0.2:7373"}},
}

// written is a backup whose snapshot is this.
func written(t testing.TB, state []byte) []byte {
	t.Helper()
	var file bytes.Buffer
	err := backup.Write(&file, header, func(w io.Writer) error {
		_, err := w.Write(state)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// What is written is read, whatever its size, and its SHA-256 is that of the file.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 300_000} {
		state := bytes.Repeat([]byte{0xa5}, size)
		file := written(t, state)
		var got []byte
		summary, err := backup.Read(bytes.NewReader(file), func(r io.Reader) (err error) {
			got, err = io.ReadAll(r)
			return err
		})
		if err != nil || !bytes.Equal(got, state) {
			t.Fatalf("%d bytes became %d: %v", size, len(got), err)
		}
		want := backup.Summary{Header: header, Size: int64(len(file)), SHA256: sha256.Sum256(file[:len(file)-32])}
		if !reflect.DeepEqual(summary, want) {
			t.Errorf("summary %+v, want %+v", summary, want)
		}
		if skipped, err := backup.Read(bytes.NewReader(file), nil); err != nil || !reflect.DeepEqual(skipped, want) {
			t.Errorf("without reading its state: %+v, %v", skipped, err)
		}
	}
}

// Every file that is cut, and every bit that is turned, is noticed.
func TestDamage(t *testing.T) {
	t.Parallel()
	file := written(t, []byte("a state of a few bytes"))
	for n := range file {
		if _, err := backup.Read(bytes.NewReader(file[:n]), nil); !errors.Is(err, backup.ErrDamaged) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(file), err)
		}
		for bit := range 8 {
			changed := bytes.Clone(file)
			changed[n] ^= 1 << bit
			if _, err := backup.Read(bytes.NewReader(changed), nil); !errors.Is(err, backup.ErrDamaged) {
				t.Fatalf("bit %d of byte %d turned: %v", bit, n, err)
			}
		}
	}
}

// A file tells what is wrong with it, and no length in it is believed.
func TestRefused(t *testing.T) {
	t.Parallel()
	file := written(t, []byte("state"))
	length := int(binary.BigEndian.Uint32(file[12:]))
	put := func(at int, v uint32) []byte {
		changed := bytes.Clone(file)
		binary.BigEndian.PutUint32(changed[at:], v)
		return changed
	}
	for _, tc := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "something else, or empty"},
		{"something else", []byte("SEMASNAP and more"), `does not start with "SEMABKUP"`},
		{"next version", put(8, 2), "format version 2, this build knows 1"},
		{"long header", put(12, 64<<10+1), "its header has 65537 bytes"},
		{"longest header", put(12, 64<<10), "ends too early"},
		{"no header", put(12, 0), "its cluster id has 0 bytes"},
		{"long frame", put(16+length, 1<<20+1), "a frame of 1048577 bytes"},
		{"longest frame", put(16+length, 1<<20), "ends too early"},
		{"more behind", append(bytes.Clone(file), 0), "goes on after its end"},
		{"half", file[:len(file)/2], "ends too early"},
		{"without checksum", file[:len(file)-32], "ends too early"},
	} {
		_, err := backup.Read(bytes.NewReader(tc.file), nil)
		if !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: want %q, got %v", tc.name, tc.want, err)
		}
	}
}

// What a cluster would go on from must not be so high that it could run over.
func TestHighNumbers(t *testing.T) {
	t.Parallel()
	for name, high := range map[string]fsm.Facts{
		"index": {Index: 1 << 62, Term: 1}, "term": {Index: 1, Term: 1 << 62}, "all of it": {Index: math.MaxUint64, Term: math.MaxUint64},
	} {
		if _, err := backup.Read(bytes.NewReader(writtenWith(t, high)), nil); !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), "its last entry is") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := backup.Read(bytes.NewReader(writtenWith(t, fsm.Facts{Index: 1<<62 - 1, Term: 1<<62 - 1})), nil); err != nil {
		t.Errorf("the highest: %v", err)
	}
}

// writtenWith is a backup that says this of itself.
func writtenWith(t testing.TB, facts fsm.Facts) []byte {
	t.Helper()
	h := header
	h.Facts = facts
	var file bytes.Buffer
	if err := backup.Write(&file, h, func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// An error on the way is the error, and no damage.
func TestErrorsOnTheWay(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	file := written(t, bytes.Repeat([]byte{1}, 100_000))
	for _, n := range []int{0, 3, 10, 20, 200, 70_000, len(file) - 10, len(file)} {
		_, err := backup.Read(io.MultiReader(bytes.NewReader(file[:n]), failing{broken}), nil)
		if !errors.Is(err, broken) || errors.Is(err, backup.ErrDamaged) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
	if _, err := backup.Read(bytes.NewReader(file), func(io.Reader) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("of who reads: %v", err)
	}
	if err := backup.Write(io.Discard, header, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("of who writes: %v", err)
	}
	if err := backup.Write(failing{broken}, header, func(io.Writer) error { return nil }); !errors.Is(err, broken) {
		t.Errorf("of the disk: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzRead: whatever the bytes, Read ends, and what it accepts is written again as
// it was, but for how it was cut into frames.
func FuzzRead(f *testing.F) {
	f.Add(written(f, nil))
	f.Add(written(f, []byte("state")))
	f.Add(written(f, bytes.Repeat([]byte{7}, 70_000)))
	f.Add(writtenWith(f, fsm.Facts{Index: 1<<62 - 1, Term: math.MaxUint64}))
	f.Add([]byte("SEMABKUP\x00\x00\x00\x01\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, file []byte) {
		summed := len(file) >= 32
		if summed { // else no fuzzer finds what is behind the checksum
			sum := sha256.Sum256(file[:len(file)-32])
			file = append(file[:len(file)-32:len(file)-32], sum[:]...)
		}
		var state []byte
		summary, err := backup.Read(bytes.NewReader(file), func(r io.Reader) (err error) {
			state, err = io.ReadAll(r)
			return err
		})
		if err != nil {
			if !errors.Is(err, backup.ErrDamaged) {
				t.Fatalf("neither read nor damaged: %v", err)
			}
			return
		}
		var again bytes.Buffer
		if err := backup.Write(&again, summary.Header, func(w io.Writer) error {
			_, err := w.Write(state)
			return err
		}); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := backup.Read(bytes.NewReader(again.Bytes()), nil)
		if err != nil || !reflect.DeepEqual(back.Header, summary.Header) {
			t.Fatalf("%+v became %+v: %v", summary.Header, back.Header, err)
		}
	})
}
