package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unicode/utf8"

	"github.com/semanode/sema"
)

// The layout of a log entry: one byte format version, four bytes CRC-32C of the
// body (little endian), body: a sema.log.v1.Batch, see proto/sema/log/v1/log.proto.
// It is decoded by hand because the generated decoder skips what it does not
// know and allocates before it has looked; TestCodecMatchesSchema holds the two
// against each other.
const (
	batchVersion    = 1
	batchHeaderSize = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrMalformed matches every error of a decoder of this package.
var ErrMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrMalformed, fmt.Errorf(format, args...))
}

// ErrTooNew matches those errors of a decoder, and of a machine, which say that something
// has what this build does not know, be it a version, a level, a kind or a field: a newer
// one wrote it. They match [ErrMalformed], too.
var ErrTooNew = errors.New("written by a newer version")

// tooNew is an error that matches [ErrTooNew].
type tooNew struct{ what string }

func tooNewf(format string, args ...any) error { return tooNew{fmt.Sprintf(format, args...)} }

func (e tooNew) Error() string { return fmt.Sprintf("%v: %s", ErrTooNew, e.what) }

// Is implements what [errors.Is] asks for.
func (e tooNew) Is(target error) bool { return target == ErrTooNew || target == ErrMalformed }

// AppendBatch appends the encoded batch to dst. It refuses whatever DecodeBatch
// would: an entry in the log that cannot be decoded stops every node.
func AppendBatch(dst []byte, b Batch) ([]byte, error) {
	if len(b.Commands) > MaxCommands {
		return nil, fmt.Errorf("fsm: %d commands in a batch, at most %d", len(b.Commands), MaxCommands)
	}
	if b.Clock < 0 {
		return nil, fmt.Errorf("fsm: a batch at cluster time %d", b.Clock)
	}
	for i := range b.Commands {
		if err := b.Commands[i].check(); err != nil {
			return nil, fmt.Errorf("fsm: command %d of a batch: %w", i, err)
		}
	}
	start := len(dst)
	dst = append(dst, batchVersion, 0, 0, 0, 0)
	dst = appendUint(dst, 1, b.Term)
	dst = appendUint(dst, 2, uint64(b.Clock))
	dst = appendUint(dst, 3, uint64(b.Wall))
	for i := range b.Commands {
		dst = appendMessage(dst, 4, func(dst []byte) []byte { return appendCommand(dst, &b.Commands[i]) })
	}
	if size := len(dst) - start; size > MaxBatchBytes {
		return nil, fmt.Errorf("fsm: a batch of %d bytes, at most %d", size, MaxBatchBytes)
	}
	entry := dst[start:]
	binary.LittleEndian.PutUint32(entry[1:], crc32.Checksum(entry[batchHeaderSize:], castagnoli))
	return dst, nil
}

// check holds a command to what the format can carry, which is less than a
// valid command: what the commands of a batch ask for is for Apply to judge.
func (c *Command) check() error {
	switch {
	case !c.Kind.known():
		return fmt.Errorf("of unknown kind %d", c.Kind)
	case len(c.Name) > sema.MaxNameBytes || !utf8.ValidString(c.Name):
		return sema.ValidateName(c.Name)
	case len(c.Owner) > sema.MaxOwnerBytes || !utf8.ValidString(c.Owner):
		return sema.ValidateOwner(c.Owner)
	case c.Deadline < 0:
		return fmt.Errorf("with deadline %d", c.Deadline)
	case c.Account != nil:
		return c.Account.check()
	}
	return nil
}

func appendCommand(dst []byte, c *Command) []byte {
	dst = appendUint(dst, 1, uint64(c.Kind))
	dst = appendText(dst, 2, c.Name)
	dst = appendText(dst, 3, c.Owner)
	dst = appendUint(dst, 4, uint64(c.Timeout))
	dst = appendUint(dst, 5, c.Token)
	dst = appendUint(dst, 6, uint64(c.Deadline))
	dst = appendClient(dst, 7, c.Attempt.Client)
	dst = appendUint(dst, 8, c.Attempt.Seq)
	dst = appendUint(dst, 9, c.Attempt.LowestOpen)
	dst = appendBool(dst, 10, c.Wait)
	if c.Account != nil {
		dst = appendMessage(dst, 11, c.Account.append)
	}
	return dst
}

// DecodeBatch is the inverse of AppendBatch. It refuses, with an error that
// matches [ErrMalformed], whatever AppendBatch could not have made: another
// version, a wrong checksum, unknown fields or kinds, anything over the limits,
// and every encoding but the one that AppendBatch chooses.
func DecodeBatch(entry []byte) (Batch, error) { return decodeBatch(entry, nil) }

// decodeBatch appends the commands to buf, which the caller may use again.
func decodeBatch(entry []byte, buf []Command) (Batch, error) {
	b := Batch{Commands: buf[:0]}
	if len(entry) < batchHeaderSize || len(entry) > MaxBatchBytes {
		return b, malformed("log entry of %d bytes", len(entry))
	}
	switch v := entry[0]; {
	case v > batchVersion:
		return b, tooNewf("log entry of format version %d, this build knows %d", v, batchVersion)
	case v < batchVersion:
		return b, malformed("log entry of format version %d, this build knows %d", v, batchVersion)
	}
	body := entry[batchHeaderSize:]
	if want, got := binary.LittleEndian.Uint32(entry[1:]), crc32.Checksum(body, castagnoli); want != got {
		return b, malformed("log entry with checksum %08x, its bytes have %08x", want, got)
	}
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.uint(&b.Term)
		case 2:
			f.time(&b.Clock)
		case 3:
			f.int(&b.Wall)
		case 4:
			if len(b.Commands) == MaxCommands {
				f.fail("more than %d commands in a log entry", MaxCommands)
				break
			}
			b.Commands = append(b.Commands, Command{})
			f.message(b.Commands[len(b.Commands)-1].decode)
		default:
			f.unknown("batch")
		}
	}
	return b, f.err
}

func (c *Command) decode(body []byte) error {
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.uint8((*uint8)(&c.Kind))
		case 2:
			f.text(&c.Name, sema.MaxNameBytes)
		case 3:
			f.text(&c.Owner, sema.MaxOwnerBytes)
		case 4:
			f.int((*int64)(&c.Timeout))
		case 5:
			f.uint(&c.Token)
		case 6:
			f.time(&c.Deadline)
		case 7:
			f.client(&c.Attempt.Client)
		case 8:
			f.uint(&c.Attempt.Seq)
		case 9:
			f.uint(&c.Attempt.LowestOpen)
		case 10:
			f.bool(&c.Wait)
		case 11:
			if f.again {
				f.fail("field 11 twice")
				break
			}
			c.Account = new(Account)
			f.message(c.Account.decode)
		default:
			f.unknown("command")
		}
	}
	switch {
	case f.err != nil || c.Kind.known():
	case c.Kind == 0:
		f.fail("command of no kind")
	default:
		f.failNew("command of kind %d, which this build does not know", c.Kind)
	}
	return f.err
}
