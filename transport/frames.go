package transport

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2"
)

// frameScanner looks at what a client sends over HTTP/2 (RFC 9113), as it comes: it counts
// frames, and knows which messages of gRPC have begun and not ended. It judges nothing: what
// is malformed is gRPC's to refuse.
type frameScanner struct {
	preface int // of it, how much was seen
	header  [9]byte
	have    int    // of header
	skip    uint32 // of the frame, what is of no interest
	data    uint32 // of the frame, what is a stream's
	padding bool   // the next byte of it tells how much padding follows data
	current message

	begun   map[uint32]message // by stream; those of frames that are over
	pending int                // bytes of them, and of current
}

// message is one that has begun.
type message struct {
	prefix [5]byte // whether it is compressed, and its length
	got    int     // with the prefix
	since  time.Time
}

// maxBegun bounds the messages that are kept. Beyond it each counts as if it were too much.
const maxBegun = 1024

// scan counts the calls that were opened, and the frames that only cost.
func (f *frameScanner) scan(b []byte) (opened, useless int) {
	if missing := len(http2.ClientPreface) - f.preface; missing > 0 {
		n := min(missing, len(b))
		f.preface += n
		b = b[n:]
	}
	for len(b) > 0 {
		switch {
		case f.padding:
			f.padding = false
			padding := min(uint32(b[0]), f.data-1)
			f.data, f.skip = f.data-1-padding, padding
			b = b[1:]
			f.endOfData()
		case f.data > 0:
			n := min(f.data, uint32(len(b)))
			f.read(b[:n])
			f.data -= n
			b = b[n:]
			f.endOfData()
		case f.skip > 0:
			n := min(f.skip, uint32(len(b)))
			f.skip -= n
			b = b[n:]
		default:
			n := copy(f.header[f.have:], b)
			f.have += n
			b = b[n:]
			if f.have == len(f.header) {
				f.have = 0
				o, u := f.frame()
				opened, useless = opened+o, useless+u
			}
		}
	}
	return opened, useless
}

func (f *frameScanner) stream() uint32 { return binary.BigEndian.Uint32(f.header[5:]) &^ (1 << 31) }

func (f *frameScanner) has(flag http2.Flags) bool { return http2.Flags(f.header[4]).Has(flag) }

// frame begins the frame whose header has come.
func (f *frameScanner) frame() (opened, useless int) {
	length := binary.BigEndian.Uint32(f.header[:]) >> 8
	f.skip = length
	switch http2.FrameType(f.header[3]) {
	case http2.FrameData:
		f.data, f.skip, f.padding = length, 0, length > 0 && f.has(http2.FlagDataPadded)
		f.current = f.begun[f.stream()]
		delete(f.begun, f.stream())
		f.endOfData()
	case http2.FrameHeaders:
		opened++
	case http2.FrameRSTStream:
		useless++
		f.pending -= f.begun[f.stream()].got
		delete(f.begun, f.stream())
	case http2.FrameSettings, http2.FramePriority:
		useless++
	}
	return opened, useless
}

// read takes bytes of messages.
func (f *frameScanner) read(b []byte) {
	m := &f.current
	for len(b) > 0 {
		n := 0
		if m.got < len(m.prefix) {
			n = copy(m.prefix[m.got:], b)
		} else {
			n = int(min(uint32(len(b)), m.left()))
		}
		m.got += n
		f.pending += n
		b = b[n:]
		if m.got >= len(m.prefix) && m.left() == 0 {
			f.pending -= m.got
			*m = message{}
		}
	}
}

// left is how much of a message is to come, whose prefix has.
func (m *message) left() uint32 {
	return binary.BigEndian.Uint32(m.prefix[1:]) - uint32(m.got-len(m.prefix))
}

// endOfData keeps what a DATA frame has begun, when it is over.
func (f *frameScanner) endOfData() {
	if f.data > 0 || f.padding || f.current.got == 0 {
		return
	}
	if f.has(http2.FlagDataEndStream) { // it will not end
		f.pending -= f.current.got
	} else {
		if f.begun == nil {
			f.begun = map[uint32]message{}
		}
		if len(f.begun) < maxBegun {
			f.begun[f.stream()] = f.current
		} else {
			f.pending += mostUnfinished
		}
	}
	f.current = message{}
}

// oldest returns since when messages that have begun are known. Those that have not been
// asked about before have begun now. It takes as long as there are such messages.
func (f *frameScanner) oldest(now time.Time) time.Time {
	first := now
	if f.current.got > 0 {
		first = f.current.seen(now)
	}
	for id, m := range f.begun {
		if at := m.seen(now); at.Before(first) {
			first = at
		}
		f.begun[id] = m
	}
	return first
}

func (m *message) seen(now time.Time) time.Time {
	if m.since.IsZero() {
		m.since = now
	}
	return m.since
}
