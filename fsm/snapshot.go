package fsm

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/semanode/sema"
)

// The layout of a snapshot: eight bytes magic, four bytes format version (big
// endian), then a sema.log.v1.Snapshot, see proto/sema/log/v1/log.proto, whose
// records are written and read one at a time. The last record is the trailer
// with the length and the CRC-32C of everything before it.
const (
	snapshotMagic   = "SEMASNAP"
	snapshotVersion = 1
	// maxRecordBytes bounds one record. The largest is a client with
	// sema.MaxOpenAttempts outcomes that each ended a hold of the longest owner.
	maxRecordBytes = 1 << 20
	// bufferBytes is how much is read from or written to a disk at a time.
	bufferBytes = 64 << 10

	stateRecord, semaphoreRecord, clientRecord, ticketRecord, trailerRecord = 1, 2, 3, 4, 15
)

// capture is a state as it was at one entry, to be written while later entries
// are applied. Of the semaphores and the clients it has those that were there, and
// reads what they were from them and from [history]; the tickets do not change.
type capture struct {
	clock      Time
	wallOffset int64
	lastToken  uint64
	level      uint64
	turnAt     Time
	semaphores rows[string, *semaphore]
	clients    [2]rows[sema.ClientID, *client] // young, old
	lastTicket uint64
	tickets    rows[uint64, *ticket]

	mu      *sync.RWMutex // of the machine; guards what follows, and all that is shared
	of      *state        // nil once released
	holders map[*semaphore][]hold
	records map[*client]client
	later   *capture // the next one, if it was begun while this one was open
}

var _ raft.FSMSnapshot = (*capture)(nil)

func (st *state) capture(mu *sync.RWMutex) *capture {
	c := &capture{
		mu:         mu,
		of:         st,
		clock:      st.clock,
		wallOffset: st.wallOffset,
		lastToken:  st.lastToken,
		level:      st.level,
		turnAt:     st.clients.turnAt,
		semaphores: st.semaphores.capture(),
		clients:    [2]rows[sema.ClientID, *client]{st.clients.young.capture(), st.clients.old.capture()},
		lastTicket: st.tickets.last,
		tickets:    st.tickets.byNumber.Copy(),
	}
	st.history.begin(c)
	return c
}

// Persist writes the snapshot. It closes the sink, or cancels it on an error.
func (c *capture) Persist(sink raft.SnapshotSink) error {
	err := c.write(sink)
	c.Release()
	if err != nil {
		_ = sink.Cancel() // the first error is the one that tells
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release lets the state forget what was kept for this snapshot. It is idempotent.
func (c *capture) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of != nil {
		c.of.history.end()
		c.of = nil
	}
}

func (c *capture) write(to io.Writer) error {
	w := &recordWriter{to: bufio.NewWriterSize(to, bufferBytes)}
	header := binary.BigEndian.AppendUint32([]byte(snapshotMagic), snapshotVersion)
	w.raw(header)
	w.record(stateRecord, func(b []byte) []byte {
		b = appendUint(b, 1, uint64(c.clock))
		b = appendUint(b, 2, protowire.EncodeZigZag(c.wallOffset))
		b = appendUint(b, 3, c.lastToken)
		b = appendUint(b, 4, uint64(c.turnAt))
		b = appendUint(b, 5, uint64(c.semaphores.Len()))
		b = appendUint(b, 6, uint64(c.clients[0].Len()+c.clients[1].Len()))
		b = appendUint(b, 7, c.lastTicket)
		b = appendUint(b, 8, uint64(c.tickets.Len()))
		if c.level > LevelBase {
			b = appendUint(b, 9, c.level)
		}
		return b
	})
	var holders [][]hold
	var holds []hold // of all of a page
	writeRows(w, c.semaphores, semaphoreRecord, func(page []row[string, *semaphore]) {
		c.mu.RLock()
		defer c.mu.RUnlock()
		holders, holds = holders[:0], holds[:0]
		for i := range page {
			first := len(holds)
			holds = append(holds, c.holdersOf(page[i].value)...)
			holders = append(holders, holds[first:len(holds):len(holds)])
		}
	}, func(b []byte, i int, r row[string, *semaphore]) []byte { return r.value.append(b, holders[i]) })
	var records []client
	for number, generation := range c.clients {
		writeRows(w, generation, clientRecord, func(page []row[sema.ClientID, *client]) {
			c.mu.RLock()
			defer c.mu.RUnlock()
			records = records[:0]
			for i := range page {
				records = append(records, c.recordOf(page[i].value))
			}
		}, func(b []byte, i int, r row[sema.ClientID, *client]) []byte {
			return records[i].append(b, r.key, uint64(number))
		})
	}
	writeRows(w, c.tickets, ticketRecord, func([]row[uint64, *ticket]) {},
		func(b []byte, _ int, r row[uint64, *ticket]) []byte { return r.value.append(b) })
	length, sum := w.length, w.sum
	w.record(trailerRecord, func(b []byte) []byte { return appendTrailer(b, length, sum) })
	if w.err != nil {
		return w.err
	}
	return w.to.Flush()
}

func (s *semaphore) append(b []byte, holders []hold) []byte {
	b = appendText(b, 1, s.name)
	b = appendUint(b, 2, uint64(s.permits))
	for i := range holders {
		b = appendMessage(b, 3, holders[i].append)
	}
	return b
}

func (h *hold) append(b []byte) []byte {
	b = appendUint(b, 1, h.token)
	b = appendText(b, 2, h.owner)
	b = appendUint(b, 3, uint64(h.timeout))
	b = appendUint(b, 4, uint64(h.deadline))
	b = appendUint(b, 5, uint64(h.created))
	b = appendUint(b, 6, uint64(h.updated))
	b = appendClient(b, 7, h.client)
	b = appendUint(b, 8, h.seq)
	b = appendBool(b, 9, h.claimed)
	return appendText(b, 10, h.account.name())
}

func (c *client) append(b []byte, id sema.ClientID, generation uint64) []byte {
	b = appendClient(b, 1, id)
	b = appendUint(b, 2, generation)
	b = appendUint(b, 3, c.lowestOpen)
	for i := range c.outcomes {
		b = appendMessage(b, 4, c.outcomes[i].append)
	}
	return b
}

func (o *outcome) append(b []byte) []byte {
	b = appendUint(b, 1, o.seq)
	b = appendUint(b, 2, uint64(o.status))
	b = appendUint(b, 3, o.token)
	if o.ended != nil {
		b = appendMessage(b, 4, o.ended.append)
	}
	return b
}

func (t *ticket) append(b []byte) []byte {
	b = appendUint(b, 1, t.number)
	b = appendText(b, 2, t.name)
	b = appendText(b, 3, t.owner)
	b = appendUint(b, 4, uint64(t.timeout))
	b = appendUint(b, 5, uint64(t.since))
	b = appendClient(b, 6, t.attempt.client)
	b = appendUint(b, 7, t.attempt.seq)
	return appendText(b, 8, t.account.name())
}

func appendTrailer(b []byte, length uint64, sum uint32) []byte {
	b = protowire.AppendFixed64(protowire.AppendTag(b, 1, protowire.Fixed64Type), length)
	return protowire.AppendFixed32(protowire.AppendTag(b, 2, protowire.Fixed32Type), sum)
}

// recordWriter writes records and keeps count of what it wrote. After an error
// it writes nothing more.
type recordWriter struct {
	to     *bufio.Writer
	buf    []byte
	length uint64
	sum    uint32
	err    error
}

func (w *recordWriter) record(num protowire.Number, body func([]byte) []byte) {
	w.buf = appendMessage(w.buf[:0], num, body)
	w.raw(w.buf)
}

func (w *recordWriter) raw(b []byte) {
	if w.err != nil {
		return
	}
	_, w.err = w.to.Write(b)
	w.length += uint64(len(b))
	w.sum = crc32.Update(w.sum, castagnoli, b)
}

// pageRows is how many values are read at a time, while no entry can be applied: for some
// ten microseconds. Few, because a reader that is stopped by the operating system
// there stops Apply with it.
const pageRows = 128

// After so many pages, some tenth of a millisecond, the writer rests. On a single
// processor that is when the network is looked at: as long as there is a goroutine to run
// Go does so every 10 ms only, and to yield does not help.
const (
	restPages = 2
	rest      = 50 * time.Microsecond
)

// writeRows writes a record for each row, a page at a time: take reads what may change
// of the rows of a page, body then encodes its i-th row. The rows do not change.
func writeRows[K comparable, V any](w *recordWriter, all rows[K, V], num protowire.Number, take func([]row[K, V]), body func(b []byte, i int, r row[K, V]) []byte) {
	page, pages := make([]row[K, V], 0, pageRows), 0
	write := func() bool {
		take(page)
		w.buf = w.buf[:0]
		for i := range page {
			w.buf = appendMessage(w.buf, num, func(b []byte) []byte { return body(b, i, page[i]) })
		}
		w.raw(w.buf)
		page = page[:0]
		if pages++; pages%restPages == 0 {
			time.Sleep(rest)
		}
		return w.err == nil
	}
	all.Scan(func(r row[K, V]) bool {
		if page = append(page, r); len(page) < pageRows {
			return true
		}
		return write()
	})
	write()
}
