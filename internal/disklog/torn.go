package disklog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// torn reports whether what lies behind the last whole append can be an append that
// a power cut or a kill has torn, so that nobody was ever told of it. If it cannot
// it is damage, and the error says why.
//
// A torn append is the last one, and in a file that was zeros each of its sectors has
// either what was written or zeros still. So:
//
//   - With a whole append behind it, it was not the last: it had been synced.
//   - What a frame says is true, or it says zeros: frames lead to the append's end or
//     into a sector of zeros, never astray.
//   - If they lead to its end and it does not match its checksum, one of its sectors
//     is zeros. No entry of ours has 512 zeros in a row.
//
// What cannot be told from a torn append is the last one with a whole sector of zeros
// in it that was written and lost later (and the one before it, if the sector has the
// end of that, too); a log that was closed tells even these, see [Log.Close]. A disk that tears within a sector looks like damage here, which is the
// safe way to be wrong.
func (s *scan) torn() (bool, error) {
	end := s.remains()
	if end == s.end {
		return false, nil // nothing is there
	}
	if at := s.wholeBehind(end); at > 0 {
		return false, fmt.Errorf("segment %s is damaged behind byte %d: %w, but a whole append follows at byte %d", s.path, s.end, s.reason, at)
	}
	switch s.reason {
	case errMismatch: // where the sector of the last frame was written, it says
		for from := s.end; from < s.stop-s.stop%sectorLen; from = sectorEnd(from) {
			if allZero(s.data[from:sectorEnd(from)]) {
				return true, nil
			}
		}
	case errZeros:
		if allZero(s.data[max(s.end, s.stop-s.stop%sectorLen):min(sectorEnd(s.stop), len(s.data))]) {
			return true, nil
		}
	}
	return false, fmt.Errorf("segment %s is damaged behind byte %d: at byte %d, %w, and no sector of it is missing", s.path, s.end, s.stop, s.reason)
}

func sectorEnd(at int) int { return at - at%sectorLen + sectorLen }

// wholeBehind looks for an append that is whole behind one that is not, and returns
// where it begins, or 0.
func (s *scan) wholeBehind(end int) int {
	for at := s.end; at+frameLen <= end; at += frameLen {
		if s.data[at] == commitFrame && s.wholeFrom(at+frameLen) {
			return at + frameLen
		}
	}
	return 0
}

// wholeFrom reports whether a whole append begins at an offset.
func (s *scan) wholeFrom(begin int) bool {
	for at := begin; ; {
		length, typ, err := s.frame(at)
		if err != nil {
			return false
		}
		if typ == commitFrame {
			return at > begin && crc32.Checksum(s.data[begin:at], castagnoli) == binary.LittleEndian.Uint32(s.data[at+4:])
		}
		at += length
	}
}
