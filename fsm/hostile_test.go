package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

// readBuffer is what reading a snapshot allocates whatever is in it.
const readBuffer = 128 << 10

// TestDecodersAllocateWhatInputDeserves: a few bytes that claim much cost little,
// and a mebibyte of nothing costs little more than itself.
func TestDecodersAllocateWhatInputDeserves(t *testing.T) {
	const mebi = 1<<20 - 64
	fill := func(pattern ...byte) []byte { return bytes.Repeat(pattern, mebi/len(pattern)) }
	for name, body := range map[string][]byte{
		"a claimed length":            append([]byte{0x22}, binary.AppendUvarint(nil, math.MaxInt64)...),
		"a claimed length of a name":  {0x22, 8, 0x08, 1, 0x12, 0xff, 0xff, 0xff, 0x7f, 0},
		"a mebibyte of empty ones":    fill(0x22, 0),
		"a mebibyte of small ones":    fill(0x22, 2, 0x08, 6),
		"a mebibyte of a name":        record(4, append([]byte{0x08, 1}, record(2, fill('n'))...)),
		"a mebibyte of names":         record(4, append([]byte{0x08, 1}, fill(0x12, 1, 'n')...)),
		"a mebibyte of an identity":   record(4, append([]byte{0x08, 1}, record(7, fill(1))...)),
		"a mebibyte of groups":        fill(0x23),
		"a mebibyte of commands deep": nested(4, mebi),
	} {
		entry := sealed(body)
		var err error
		got := allocated(func() { _, err = fsm.DecodeBatch(entry) })
		if !errors.Is(err, fsm.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if most := uint64(512<<10 + len(entry)/2); got > most {
			t.Errorf("entry with %s: %d bytes allocated for %d, want at most %d", name, got, len(entry), most)
		}
	}
	state := record(1, marshal(t, &logv1.State{LastToken: 9, TurnAt: int64(fsm.ClientRetention), SemaphoreCount: 1 << 60, ClientCount: 1 << 60,
		LastTicket: math.MaxUint64, TicketCount: 1 << 60}))
	id := record(1, bytes.Repeat([]byte{1}, 16))
	small := func(o *logv1.Outcome) []byte { return record(4, marshal(t, o)) }
	for name, records := range map[string][]byte{
		"claimed counts":                     {},
		"a claimed length":                   binary.AppendUvarint([]byte{0x12}, 1<<20),
		"a claimed length beyond all bounds": binary.AppendUvarint([]byte{0x12}, math.MaxInt64),
		"a mebibyte of a name":               record(2, record(1, fill('n'))),
		"a mebibyte of empty holds":          record(2, fill(0x1a, 0)),
		"a mebibyte of small holds":          record(2, append(record(1, []byte("n")), fill(0x1a, 2, 0x08, 1)...)),
		"a mebibyte of empty outcomes":       record(3, append(id, fill(0x22, 0)...)),
		"a mebibyte of small outcomes":       record(3, append(id, fill(small(&logv1.Outcome{Seq: 1, Status: 1})...)...)),
		"a mebibyte of ended holds":          record(3, append(id, record(4, fill(0x22, 0))...)),
		"a mebibyte of clients deep":         nested(3, mebi),
		"a mebibyte of empty tickets":        fill(0x22, 0),
		"a mebibyte of a ticket's name":      record(4, record(2, fill('n'))),
		"a mebibyte of a ticket's owner":     record(4, record(3, fill('o'))),
		"a mebibyte of tickets deep":         nested(4, mebi),
		"a ticket's claimed length":          binary.AppendUvarint([]byte{0x22}, 1<<20),
		"a mebibyte of holds deep":           record(3, append(id, nested(4, mebi)...)),
		"many mebibytes of a record":         record(3, append(id, record(1, make([]byte, 16<<20))...)),
	} {
		file := sealedSnapshot(append(bytes.Clone(state), records...))
		var err error
		got := allocated(func() { err = fsm.CheckSnapshot(bytes.NewReader(file)) })
		if !errors.Is(err, fsm.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if most := uint64(readBuffer + 10*min(len(file), 1<<20)); got > most {
			t.Errorf("snapshot with %s: %d bytes allocated for %d, want at most %d", name, got, len(file), most)
		}
	}
}

// TestAcceptedInputAllocatesInProportion: the smallest messages that a decoder
// accepts are the dearest for their length. Nothing that comes from a network or
// a disk may cost a large multiple.
func TestAcceptedInputAllocatesInProportion(t *testing.T) {
	const most = 64 // bytes allocated for a byte read
	message := &logv1.Snapshot{State: &logv1.State{LastToken: 1 << 20, TurnAt: int64(fsm.ClientRetention)}}
	for i := range 20_000 {
		name := fmt.Sprintf("%04x", i) // short, and in order
		message.Semaphores = append(message.Semaphores, &logv1.Semaphore{Name: name, Permits: 1, Holders: []*logv1.Hold{{Token: uint64(i + 1)}}})
		client := &logv1.Client{Id: binary.BigEndian.AppendUint64(make([]byte, 8), uint64(i+1))}
		if i < 10 {
			for seq := range uint64(sema.MaxOpenAttempts) {
				client.Outcomes = append(client.Outcomes, &logv1.Outcome{Seq: seq, Status: 4, Ended: &logv1.Hold{}})
			}
		}
		message.Clients = append(message.Clients, client)
	}
	for i := range 20_000 {
		message.Tickets = append(message.Tickets, &logv1.Ticket{Number: uint64(i + 1), Name: "0000", Timeout: 1,
			Client: message.Clients[i].Id, Seq: 1})
	}
	message.State.LastTicket, message.State.TicketCount = 20_000, 20_000
	message.State.SemaphoreCount, message.State.ClientCount = uint64(len(message.Semaphores)), uint64(len(message.Clients))
	file := snapshotFile(t, message)
	var err error
	got := allocated(func() { err = fsm.CheckSnapshot(bytes.NewReader(file)) })
	if err != nil {
		t.Fatal(err)
	}
	if got > uint64(readBuffer+most*len(file)) {
		t.Errorf("%d bytes allocated for a snapshot of %d", got, len(file))
	}
	t.Logf("snapshot: %.1f bytes allocated for a byte read", float64(got)/float64(len(file)))

	entry := sealed(bytes.Repeat([]byte{0x22, 2, 0x08, 6}, fsm.MaxCommands))
	got = allocated(func() { _, err = fsm.DecodeBatch(entry) })
	if err != nil {
		t.Fatal(err)
	}
	if got > uint64(2*most*len(entry)) {
		t.Errorf("%d bytes allocated for an entry of %d", got, len(entry))
	}
	t.Logf("entry: %.1f bytes allocated for a byte read", float64(got)/float64(len(entry)))
}

// allocated is how many bytes a call allocates, the least of three: others
// allocate beside it.
func allocated(call func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		call()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// record is a length-delimited field.
func record(num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

// nested is a message in a message, and so on, of some bytes altogether.
func nested(num protowire.Number, size int) (body []byte) {
	reversed := make([]byte, 0, size)
	for len(reversed) < size-8 {
		length := binary.AppendUvarint(nil, uint64(len(reversed)))
		for i := len(length) - 1; i >= 0; i-- {
			reversed = append(reversed, length[i])
		}
		reversed = append(reversed, byte(num<<3|2))
	}
	for i := len(reversed) - 1; i >= 0; i-- {
		body = append(body, reversed[i])
	}
	return body
}
