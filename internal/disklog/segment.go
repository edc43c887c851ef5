package disklog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// The layout of a segment, as raft-wal's README has it; integers are little endian.
const (
	headerLen   = 32 // magic, version, base index, id, codec
	frameLen    = 8  // type, 3 bytes of zero, length or CRC-32C
	sectorLen   = 512
	magic       = 0x58eb6b0d
	entryFrame  = 1
	indexFrame  = 2
	commitFrame = 3
)

// scan is a segment read in full, every append held to its checksum.
type scan struct {
	path    string
	info    types.SegmentInfo
	data    []byte
	offsets []uint32 // of the frames of entries, in order
	index   uint64   // offset of the index behind the last append; 0 if the segment is not full
	begin   int      // where the last append that is whole begins
	end     int      // and where it ends
	// stop is where the frames behind end could not be followed further, for reason.
	stop   int
	reason error
}

// Why frames could not be followed further; anything else leads astray.
var (
	errZeros    = errors.New("nothing was written there")
	errMismatch = errors.New("an append does not match its checksum")
	errFull     = errors.New("the segment is full")
)

// readSegment reads a segment's file as far as it goes on without a fault. An error
// is one of reading it, or of a header that is another's.
func readSegment(dir string, info types.SegmentInfo) (*scan, error) {
	s := &scan{path: filepath.Join(dir, segment.FileName(info)), info: info}
	var err error
	if s.data, err = os.ReadFile(s.path); os.IsNotExist(err) {
		return nil, fmt.Errorf("segment %s is missing", s.path)
	} else if err != nil {
		return nil, err
	}
	if len(s.data) < int(info.SizeLimit) { // it had this length before anything was written to it
		return nil, fmt.Errorf("segment %s was cut: it has %d bytes and was made with more than %d", s.path, len(s.data), info.SizeLimit)
	}
	s.follow()
	if s.end > 0 {
		return s, s.checkHeader()
	}
	return s, nil
}

// follow goes from frame to frame.
func (s *scan) follow() {
	begin, at := 0, headerLen // the first append has the header in it
	var offsets []uint32
	var index uint64
	for {
		length, typ, err := s.frame(at)
		if err != nil {
			s.stop, s.reason = at, err
			return
		}
		switch typ {
		case entryFrame:
			offsets = append(offsets, uint32(at))
		case indexFrame:
			index = uint64(at) + frameLen
		case commitFrame:
			if crc32.Checksum(s.data[begin:at], castagnoli) != binary.LittleEndian.Uint32(s.data[at+4:]) {
				s.stop, s.reason = at, errMismatch
				return
			}
			s.begin, s.end, s.offsets, s.index = begin, at+frameLen, offsets, index
			begin = s.end
		}
		at += length
		if s.index > 0 {
			s.stop, s.reason = at, errFull
			return
		}
	}
}

// frame returns the length of the frame at an offset, and its type.
func (s *scan) frame(at int) (length int, typ byte, err error) {
	if at+frameLen > len(s.data) {
		return 0, 0, fmt.Errorf("it ends at byte %d", at)
	}
	head := s.data[at : at+frameLen]
	if allZero(head) {
		return 0, 0, errZeros
	}
	if head[1]|head[2]|head[3] != 0 {
		return 0, 0, fmt.Errorf("no frame begins at byte %d", at)
	}
	switch typ = head[0]; typ {
	case commitFrame:
		return frameLen, typ, nil
	case entryFrame, indexFrame:
		n := int(binary.LittleEndian.Uint32(head[4:]))
		if n > segment.MaxEntrySize || at+frameLen+n > len(s.data) {
			return 0, 0, fmt.Errorf("a frame of %d bytes at byte %d", n, at)
		}
		return frameLen + (n+7)&^7, typ, nil
	}
	return 0, 0, fmt.Errorf("a frame of type %d at byte %d", typ, at)
}

// checkHeader holds the header, which is in the first append, to the table.
func (s *scan) checkHeader() error {
	h := s.data
	if binary.LittleEndian.Uint64(h) != magic || binary.LittleEndian.Uint64(h[8:]) != s.info.BaseIndex ||
		binary.LittleEndian.Uint64(h[16:]) != s.info.ID || binary.LittleEndian.Uint64(h[24:]) != codecID {
		return fmt.Errorf("segment %s is another one: its header says %x", s.path, h[:headerLen])
	}
	return nil
}

// last is the index of the newest entry, 0 without any.
func (s *scan) last() uint64 {
	if len(s.offsets) == 0 {
		return 0
	}
	return s.info.BaseIndex + uint64(len(s.offsets)) - 1
}

// entry returns what was written for an index, which the segment must have.
func (s *scan) entry(index uint64) []byte {
	at := int(s.offsets[index-s.info.BaseIndex])
	n := int(binary.LittleEndian.Uint32(s.data[at+4:]))
	return s.data[at+frameLen : at+frameLen+n]
}

// checkSealed holds a segment that is full to what the table says about it.
func (s *scan) checkSealed() error {
	switch {
	case s.index == 0:
		return fmt.Errorf("segment %s is damaged behind byte %d: %w", s.path, s.end, s.reason)
	case s.index != s.info.IndexStart || s.info.MaxIndex > s.last():
		return fmt.Errorf("segment %s ends with entry %d and an index at byte %d, not with entry %d and an index at byte %d",
			s.path, s.last(), s.index, s.info.MaxIndex, s.info.IndexStart)
	}
	for i, offset := range s.offsets {
		at := int(s.index) + 4*i
		if at+4 > s.end || binary.LittleEndian.Uint32(s.data[at:]) != offset {
			return fmt.Errorf("segment %s has a wrong place for entry %d in its index", s.path, s.info.BaseIndex+uint64(i))
		}
	}
	return nil
}

// remains is how far something was written behind the last whole append.
func (s *scan) remains() int {
	n := len(s.data)
	for n-len(zeros) > s.end && allZero(s.data[n-len(zeros):n]) {
		n -= len(zeros)
	}
	for n > s.end && s.data[n-1] == 0 {
		n--
	}
	return n
}

// zeros are compared with, and written.
var zeros [64 << 10]byte

func allZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}
