package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
)

// The layout of a file: eight bytes magic; four bytes version; four bytes length, and
// so many bytes header (sema.v1.BackupHeader); the snapshot in frames of four bytes
// length and so many bytes; four bytes zero; the SHA-256 of all before it, which ends
// the file. Numbers are big endian.
const (
	magic         = "SEMABKUP"
	version       = 1
	maxFrameBytes = 1 << 20
	frameBytes    = 64 << 10 // of the frames that are written
)

// Write writes a backup. state writes the snapshot. Nothing is a backup before
// Write has returned nil. It gives to what it writes to 64 KiB at a time, about.
func Write(to io.Writer, h Header, state func(io.Writer) error) error {
	header, err := h.encode()
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(to, frameBytes+4)
	w := io.MultiWriter(out, sum)
	start := binary.BigEndian.AppendUint32([]byte(magic), version)
	start = binary.BigEndian.AppendUint32(start, uint32(len(header)))
	if _, err := w.Write(append(start, header...)); err != nil {
		return err
	}
	frames := bufio.NewWriterSize(&frameWriter{to: out, sum: sum}, frameBytes)
	if err := state(frames); err != nil {
		return err
	}
	if err := frames.Flush(); err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, 4)); err != nil {
		return err
	}
	if _, err := out.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return out.Flush()
}

// frameWriter writes whatever it is given as a frame.
type frameWriter struct {
	to  *bufio.Writer
	sum hash.Hash
}

// Write implements [io.Writer].
func (w *frameWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+frameBytes)]
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(part)))
		for _, b := range [][]byte{length[:], part} {
			w.sum.Write(b)
			if _, err := w.to.Write(b); err != nil {
				return done, fmt.Errorf("backup: %w", err)
			}
		}
		done += len(part)
	}
	return done, nil
}
