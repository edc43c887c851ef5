package fsm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// recordReader reads records and keeps count of what it read.
type recordReader struct {
	from   *bufio.Reader
	buf    bytes.Buffer
	length uint64
	sum    uint32
}

func (r *recordReader) header() error {
	var b [len(snapshotMagic) + 4]byte
	if _, err := io.ReadFull(r.from, b[:]); err != nil {
		return truncated(err)
	}
	r.count(b[:])
	if string(b[:len(snapshotMagic)]) != snapshotMagic {
		return malformed("it does not start with %q", snapshotMagic)
	}
	switch v := binary.BigEndian.Uint32(b[len(snapshotMagic):]); {
	case v > snapshotVersion:
		return tooNewf("format version %d, this build knows %d", v, snapshotVersion)
	case v < snapshotVersion:
		return malformed("format version %d, this build knows %d", v, snapshotVersion)
	}
	return nil
}

// record returns the next record. body is good until the next call.
func (r *recordReader) record() (num protowire.Number, body []byte, err error) {
	tag, err := r.varint()
	if err != nil {
		return 0, nil, err
	}
	num, typ := protowire.DecodeTag(tag)
	if typ != protowire.BytesType {
		return 0, nil, malformed("snapshot record with tag %d", tag)
	}
	size, err := r.varint()
	if err != nil {
		return 0, nil, err
	}
	if size > maxRecordBytes {
		return 0, nil, malformed("snapshot record of %d bytes, at most %d", size, maxRecordBytes)
	}
	r.buf.Reset()
	if _, err := io.CopyN(&r.buf, r.from, int64(size)); err != nil {
		return 0, nil, truncated(err)
	}
	r.count(r.buf.Bytes())
	return num, r.buf.Bytes(), nil
}

// varint reads a tag or a length, one byte at a time.
func (r *recordReader) varint() (uint64, error) {
	var raw [binary.MaxVarintLen64]byte
	for i := range raw {
		b, err := r.from.ReadByte()
		if err != nil {
			return 0, truncated(err)
		}
		raw[i] = b
		if b < 0x80 {
			r.count(raw[:i+1])
			v, n := protowire.ConsumeVarint(raw[:i+1])
			if n != protowire.SizeVarint(v) {
				return 0, malformed("tag or length is no varint, or padded")
			}
			return v, nil
		}
	}
	return 0, malformed("length of more than %d bytes", len(raw))
}

func (r *recordReader) count(b []byte) {
	r.length += uint64(len(b))
	r.sum = crc32.Update(r.sum, castagnoli, b)
}

// truncated tells a file that ends too early from a disk that cannot be read.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("it ends too early")
	}
	return err
}
