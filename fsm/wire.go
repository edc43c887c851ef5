package fsm

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/semanode/sema"
)

// fields reads a message field by field, without allocating:
//
//	f := fields{rest: body}
//	for f.next() {
//		switch f.num { ... }
//	}
//	return f.err
//
// Every message has one encoding only, the one that the append functions make:
// fields in ascending order, no zero values, varints of the least length. So
// whatever is accepted encodes to the same bytes again, and a few bytes cannot
// claim the memory of many. The first error ends the loop.
type fields struct {
	rest []byte
	err  error

	num   protowire.Number
	typ   protowire.Type
	again bool   // the field before had the same number
	bits  uint64 // of a varint
	data  []byte // of a length-delimited field; shares memory with the input
}

// next goes on to the next field, if there is one and no error.
func (f *fields) next() bool {
	if f.err != nil || len(f.rest) == 0 {
		return false
	}
	tag := f.rest[0]
	if tag >= 0x80 { // no message has a field above 15, whose tag takes two bytes
		f.failNew("field tag %#x, which this build does not know", tag)
		return false
	}
	f.rest = f.rest[1:]
	num := protowire.Number(tag >> 3)
	if num < f.num {
		f.fail("field %d after field %d", num, f.num)
		return false
	}
	f.again = num == f.num
	f.num, f.typ = num, protowire.Type(tag&7)
	f.bits, f.data = f.varint(), nil
	switch f.typ {
	case protowire.VarintType:
	case protowire.BytesType:
		if f.bits > uint64(len(f.rest)) {
			f.fail("field %d of %d bytes, where %d are left", num, f.bits, len(f.rest))
			return false
		}
		f.data, f.rest = f.rest[:f.bits], f.rest[f.bits:]
	default:
		f.fail("field %d of wire type %d", num, f.typ)
	}
	return f.err == nil
}

func (f *fields) varint() uint64 {
	if len(f.rest) > 0 && f.rest[0] < 0x80 {
		v := f.rest[0]
		f.rest = f.rest[1:]
		return uint64(v)
	}
	v, n := protowire.ConsumeVarint(f.rest)
	if n != protowire.SizeVarint(v) {
		f.fail("field %d is cut off, too large or padded", f.num)
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// fail notes the first error.
func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = malformed(format, args...)
	}
}

// failNew is fail of what a newer build may have written.
func (f *fields) failNew(format string, args ...any) {
	if f.err == nil {
		f.err = tooNewf(format, args...)
	}
}

func (f *fields) unknown(where string) {
	f.failNew("field %d of a %s, which this build does not know", f.num, where)
}

// once checks a field that stands in a message at most once, and not at all if
// it is zero or empty.
func (f *fields) once(typ protowire.Type) {
	switch {
	case f.typ != typ:
		f.fail("field %d has wire type %d, want %d", f.num, f.typ, typ)
	case f.again:
		f.fail("field %d twice", f.num)
	case f.bits == 0:
		f.fail("field %d is there and empty", f.num)
	}
}

func (f *fields) uint(p *uint64) {
	f.once(protowire.VarintType)
	*p = f.bits
}

func (f *fields) uint8(p *uint8) {
	f.once(protowire.VarintType)
	if f.bits > 255 {
		f.fail("field %d is %d", f.num, f.bits)
	}
	*p = uint8(f.bits)
}

func (f *fields) uint32(p *uint32) {
	f.once(protowire.VarintType)
	if f.bits > 1<<32-1 {
		f.fail("field %d is %d", f.num, f.bits)
	}
	*p = uint32(f.bits)
}

func (f *fields) int(p *int64) {
	f.once(protowire.VarintType)
	*p = int64(f.bits)
}

func (f *fields) bool(p *bool) {
	f.once(protowire.VarintType)
	if f.bits > 1 {
		f.fail("field %d is %d, neither true nor false", f.num, f.bits)
	}
	*p = f.bits == 1
}

func (f *fields) time(p *Time) {
	f.once(protowire.VarintType)
	if *p = Time(f.bits); *p < 0 {
		f.fail("field %d is a time before the beginning", f.num)
	}
}

func (f *fields) text(p *string, most int) {
	f.once(protowire.BytesType)
	switch {
	case f.err != nil:
	case len(f.data) > most:
		f.fail("field %d of %d bytes, at most %d", f.num, len(f.data), most)
	case !utf8.Valid(f.data):
		f.fail("field %d is not UTF-8", f.num)
	default:
		*p = string(f.data)
	}
}

func (f *fields) client(p *sema.ClientID) {
	f.once(protowire.BytesType)
	if copy(p[:], f.data); len(f.data) != len(p) || p.IsZero() {
		f.fail("field %d is no identity: %d bytes, want %d that are not all zero", f.num, len(f.data), len(p))
	}
}

// message decodes a message, which may be empty: the caller bounds how many of
// them there are.
func (f *fields) message(decode func([]byte) error) {
	if f.typ != protowire.BytesType {
		f.fail("field %d has wire type %d, want %d", f.num, f.typ, protowire.BytesType)
		return
	}
	f.err = decode(f.data)
}

// The append functions leave out zero values, as proto3 does.

func appendUint(dst []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

func appendBool(dst []byte, num protowire.Number, v bool) []byte {
	if !v {
		return dst
	}
	return appendUint(dst, num, 1)
}

func appendText(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

func appendClient(dst []byte, num protowire.Number, id sema.ClientID) []byte {
	if id.IsZero() {
		return dst
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), id[:])
}

// appendMessage writes body behind its length. The length of a small message
// takes one byte; a larger one is moved once it is known.
func appendMessage(dst []byte, num protowire.Number, body func([]byte) []byte) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	at := len(dst)
	dst = body(append(dst, 0))
	size := len(dst) - at - 1
	if extra := protowire.SizeVarint(uint64(size)) - 1; extra > 0 {
		dst = append(dst, make([]byte, extra)...)
		copy(dst[at+1+extra:], dst[at+1:at+1+size])
	}
	protowire.AppendVarint(dst[:at], uint64(size))
	return dst
}
