package backup

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrDamaged is what errors match that say that a file is no backup, or no longer
// one: not complete, changed, or of a version that this build does not know.
var ErrDamaged = errors.New("not a backup that can be used")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Summary is what is known of a file that was read to its end.
type Summary struct {
	Header Header
	Size   int64    // bytes, of the whole file
	SHA256 [32]byte // of all but these bytes themselves: it names the backup
}

// Read reads a backup to its end. state, unless nil, reads the snapshot; what it does
// not read is read after it. It is given bytes before their checksum is known: what it
// makes of them must be thrown away unless Read returns no error. Memory is taken for
// what was read, never for what a length claims.
//
// Errors that match [ErrDamaged] are about the file; others come from reading it, or
// from state.
func Read(from io.Reader, state func(io.Reader) error) (Summary, error) {
	r := &reader{from: bufio.NewReaderSize(from, frameBytes), sum: sha256.New()}
	header, err := r.header()
	if err != nil {
		return Summary{}, err
	}
	s := Summary{Header: header}
	if state != nil {
		if err := state(r); err != nil {
			return Summary{}, errors.Join(err, r.failed) // the second may be the cause of the first
		}
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return Summary{}, err
	}
	sum := r.sum.Sum(nil)
	if err := r.full(s.SHA256[:]); err != nil {
		return Summary{}, err
	}
	if !bytes.Equal(sum, s.SHA256[:]) {
		return Summary{}, damaged("its checksum is not that of its content: it was changed after it was written, or on the way")
	}
	if _, err := r.from.ReadByte(); !errors.Is(err, io.EOF) {
		if err != nil {
			return Summary{}, err
		}
		return Summary{}, damaged("it goes on after its end")
	}
	s.Size = r.size
	return s, nil
}

// reader reads the snapshot out of its frames.
type reader struct {
	from   *bufio.Reader
	sum    hash.Hash
	size   int64
	left   uint32 // of the frame
	ended  bool   // the last frame was read
	failed error  // what Read returned, if not io.EOF
}

func (r *reader) header() (Header, error) {
	var start [len(magic) + 8]byte
	if _, err := io.ReadFull(r.from, start[:len(magic)]); err != nil || string(start[:len(magic)]) != magic {
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return Header{}, err
		}
		return Header{}, damaged("it does not start with %q: it is something else, or empty", magic)
	}
	r.count(start[:len(magic)])
	if err := r.full(start[len(magic):]); err != nil {
		return Header{}, err
	}
	if v := binary.BigEndian.Uint32(start[len(magic):]); v != version {
		return Header{}, damaged("it has format version %d, this build knows %d: use the semanode that wrote it", v, version)
	}
	length := binary.BigEndian.Uint32(start[len(magic)+4:])
	if length > maxHeaderBytes {
		return Header{}, damaged("its header has %d bytes, at most %d", length, maxHeaderBytes)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r.from, int64(length)); err != nil {
		return Header{}, early(err)
	}
	r.count(body.Bytes())
	h, err := decodeHeader(body.Bytes())
	if err != nil {
		return Header{}, damaged("%v", err)
	}
	return h, nil
}

// Read implements [io.Reader] for the snapshot.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.failed = err
	}
	return n, err
}

func (r *reader) read(p []byte) (int, error) {
	switch {
	case r.failed != nil:
		return 0, r.failed
	case r.ended:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case r.left == 0:
		var length [4]byte
		if err := r.full(length[:]); err != nil {
			return 0, err
		}
		switch r.left = binary.BigEndian.Uint32(length[:]); {
		case r.left == 0:
			r.ended = true
			return 0, io.EOF
		case r.left > maxFrameBytes:
			return 0, damaged("a frame of %d bytes, at most %d", r.left, maxFrameBytes)
		}
	}
	n, err := r.from.Read(p[:min(len(p), int(r.left))])
	r.left -= uint32(n)
	r.count(p[:n])
	if err != nil {
		return n, early(err)
	}
	return n, nil
}

// full reads so many bytes, which count.
func (r *reader) full(b []byte) error {
	if _, err := io.ReadFull(r.from, b); err != nil {
		return early(err)
	}
	r.count(b)
	return nil
}

func (r *reader) count(b []byte) {
	r.size += int64(len(b))
	r.sum.Write(b)
}

// early tells a file that ends too early from one that cannot be read.
func early(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it ends too early: it was not written to its end, or cut since")
	}
	return err
}
