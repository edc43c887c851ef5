package disklog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// codec puts a CRC-32C before what raft-wal's own codec writes, little endian: an
// entry that was damaged on disk is an error for whoever reads it, always.
type codec struct{ wal.BinaryCodec }

// codecID names it in every segment; raft-wal refuses segments of another.
const codecID = 0x53454d41_00000001 // "SEMA", 1

// ID implements [wal.Codec].
func (*codec) ID() uint64 { return codecID }

// Encode implements [wal.Codec]. It is given a buffer.
func (c *codec) Encode(entry *raft.Log, w io.Writer) error {
	var body sizedBuffer = make([]byte, 4, 4+len(entry.Data)+len(entry.Extensions)+64)
	if err := c.BinaryCodec.Encode(entry, &body); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(body, crc32.Checksum(body[4:], castagnoli))
	_, err := w.Write(body)
	return err
}

// Decode implements [wal.Codec].
func (c *codec) Decode(data []byte, entry *raft.Log) error {
	if len(data) < 4 {
		return fmt.Errorf("%w: an entry of %d bytes", errDamaged, len(data))
	}
	if crc32.Checksum(data[4:], castagnoli) != binary.LittleEndian.Uint32(data) {
		return fmt.Errorf("%w: an entry of %d bytes does not match its checksum", errDamaged, len(data))
	}
	return c.BinaryCodec.Decode(data[4:], entry)
}

type sizedBuffer []byte

func (b *sizedBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p...)
	return len(p), nil
}
