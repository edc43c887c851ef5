package fsm

import (
	"bufio"
	"bytes"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/sabotage"
)

// CheckSnapshot reads a whole snapshot and returns the error that
// [Machine.Restore] would. It keeps nothing.
func CheckSnapshot(r io.Reader) error { return CheckSnapshotAt(r, Level) }

// CheckSnapshotAt is CheckSnapshot for a build that knows snapshots up to this level.
func CheckSnapshotAt(r io.Reader, level int) error {
	_, err := readSnapshot(r, level)
	return err
}

// readSnapshot decodes a snapshot into a new state. It allocates in proportion
// to what it has read, not to what a length claims, and checks what every state
// that was written by this package keeps: order, tokens, permits and counts.
func readSnapshot(from io.Reader, knows int) (*state, error) {
	r := &recordReader{from: bufio.NewReaderSize(from, bufferBytes)}
	if err := r.header(); err != nil {
		return nil, err
	}
	d := &snapshotDecoder{state: newState(), knows: knows}
	for !d.done {
		length, sum := r.length, r.sum
		num, body, err := r.record()
		if err != nil {
			return nil, err
		}
		if err := d.record(num, body, length, sum); err != nil {
			return nil, err
		}
	}
	switch _, err := r.from.ReadByte(); err {
	case io.EOF:
		return d.state, nil
	case nil:
		return nil, malformed("bytes after the trailer")
	default:
		return nil, err
	}
}

// snapshotDecoder builds a state from records in their order.
type snapshotDecoder struct {
	state      *state
	knows      int              // the highest level
	seen       protowire.Number // number of the record before
	semaphores uint64           // counts from the state record
	clients    uint64
	tickets    uint64
	last       string    // name of the semaphore before
	lastTicket uint64    // number of the ticket before
	before     clientRow // the client before
	young      bool      // those clients are complete
	done       bool
}

func (d *snapshotDecoder) record(num protowire.Number, body []byte, length uint64, sum uint32) error {
	if num < d.seen || d.seen == 0 && num != stateRecord || num == stateRecord && d.seen != 0 {
		return malformed("snapshot record %d after %d", num, d.seen)
	}
	if d.seen <= semaphoreRecord && num > semaphoreRecord {
		d.state.semaphores.index()
	}
	if d.seen <= clientRecord && num > clientRecord {
		d.indexYoung()
		d.state.clients.old.index()
	}
	d.seen = num
	switch num {
	case stateRecord:
		return d.stateRecord(body)
	case semaphoreRecord:
		return d.semaphore(body)
	case clientRecord:
		return d.client(body)
	case ticketRecord:
		return d.ticket(body)
	case trailerRecord:
		return d.trailer(body, length, sum)
	}
	return tooNewf("snapshot record %d, which this build does not know", num)
}

func (d *snapshotDecoder) stateRecord(body []byte) error {
	st := d.state
	st.clients.turnAt = 0 // that of a new state
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.time(&st.clock)
		case 2:
			f.once(protowire.VarintType)
			st.wallOffset = protowire.DecodeZigZag(f.bits)
		case 3:
			f.uint(&st.lastToken)
		case 4:
			f.time(&st.clients.turnAt)
		case 5:
			f.uint(&d.semaphores)
		case 6:
			f.uint(&d.clients)
		case 7:
			f.uint(&st.tickets.last)
		case 8:
			f.uint(&d.tickets)
		case 9:
			switch f.uint(&st.level); {
			case st.level <= LevelBase:
				f.fail("level %d", st.level)
			case st.level > uint64(d.knows):
				f.failNew("a state of level %d, this build knows %d", st.level, d.knows)
			}
		default:
			f.unknown("state")
		}
	}
	if sabotage.On(sabotage.TokenReset) {
		st.lastToken = 0
	}
	if f.err == nil && st.clients.turnAt != nextTurn(st.clock) {
		f.fail("a turn at %d after clock %d", st.clients.turnAt, st.clock)
	}
	return f.err
}

func (d *snapshotDecoder) semaphore(body []byte) error {
	s := newSemaphore("", 0, d.state.history.epoch)
	var permits uint64
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.text(&s.name, sema.MaxNameBytes)
		case 2:
			f.uint(&permits)
		case 3:
			if f.again { // one permit, one holder
				f.fail("more holders than permits")
				break
			}
			s.holders = append(s.holders, hold{})
			f.message(func(body []byte) error { return s.holders[0].decode(body, d.state.accounts) })
		default:
			f.unknown("semaphore")
		}
	}
	if f.err != nil {
		return f.err
	}
	if s.name <= d.last {
		return malformed("semaphore %q after %q", s.name, d.last)
	}
	if permits != 1 || len(s.holders) != 1 {
		return malformed("semaphore %q with %d permits and %d holders", s.name, permits, len(s.holders))
	}
	s.permits = uint32(permits)
	if token := s.holders[0].token; token == 0 || token > d.state.lastToken && !sabotage.On(sabotage.TokenReset) {
		return malformed("semaphore %q with token %d, last token %d", s.name, token, d.state.lastToken)
	}
	d.state.held++
	d.state.accounts.add(s.holders[0].account, 1, 0)
	d.last = s.name
	d.state.semaphores.load(s.name, s)
	return nil
}

// decode reads a hold. Without accounts it must be on none.
func (h *hold) decode(body []byte, as accounts) error {
	var identity string
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.uint(&h.token)
		case 2:
			f.text(&h.owner, sema.MaxOwnerBytes)
		case 3:
			f.int((*int64)(&h.timeout))
		case 4:
			f.time(&h.deadline)
		case 5:
			f.int(&h.created)
		case 6:
			f.int(&h.updated)
		case 7:
			f.client(&h.client)
		case 8:
			f.uint(&h.seq)
		case 9:
			f.bool(&h.claimed)
		case 10:
			if f.text(&identity, maxIdentityBytes); as == nil {
				f.fail("a hold that has ended, on the account of %q", identity)
			}
		default:
			f.unknown("hold")
		}
	}
	h.account = as.of(identity)
	return f.err
}

// clientRow is a client as it stands in a snapshot.
type clientRow struct {
	id         sema.ClientID
	generation uint64 // 0 young, 1 old
	*client
}

func (d *snapshotDecoder) client(body []byte) error {
	row := clientRow{client: &client{epoch: d.state.history.epoch}}
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.client(&row.id)
		case 2:
			f.uint(&row.generation)
		case 3:
			f.uint(&row.lowestOpen)
		case 4:
			if len(row.outcomes) == sema.MaxOpenAttempts {
				f.fail("more than %d outcomes", sema.MaxOpenAttempts)
				break
			}
			row.outcomes = append(row.outcomes, outcome{})
			f.message(row.outcomes[len(row.outcomes)-1].decode)
		default:
			f.unknown("client")
		}
	}
	if f.err != nil {
		return f.err
	}
	if err := row.check(d.before); err != nil {
		return err
	}
	d.before = row
	clients := &d.state.clients
	if row.generation == 0 {
		clients.young.load(row.id, row.client)
		return nil
	}
	d.indexYoung()
	if _, both := clients.young.get(row.id); both {
		return malformed("client %x in both generations", row.id)
	}
	clients.old.load(row.id, row.client)
	return nil
}

// indexYoung is called when there are no more young clients.
func (d *snapshotDecoder) indexYoung() {
	if !d.young {
		d.state.clients.young.index()
		d.young = true
	}
}

// check holds a row to the order of rows, after the one before, and of outcomes.
func (r *clientRow) check(before clientRow) error {
	ordered := before.generation < r.generation ||
		before.generation == r.generation && bytes.Compare(before.id[:], r.id[:]) < 0
	if !ordered || r.id.IsZero() || r.generation > 1 {
		return malformed("client %x of generation %d after %x", r.id, r.generation, before.id)
	}
	for i, o := range r.outcomes {
		if !o.status.Valid() || o.seq < r.lowestOpen || o.seq-r.lowestOpen >= sema.MaxOpenAttempts || i > 0 && o.seq <= r.outcomes[i-1].seq {
			return malformed("client %x with outcome %v of attempt %d, lowest open %d", r.id, o.status, o.seq, r.lowestOpen)
		}
		if (o.status == sema.ForcedReleased) != (o.ended != nil) {
			return malformed("client %x with outcome %v and the wrong hold", r.id, o.status)
		}
	}
	return nil
}

func (o *outcome) decode(body []byte) error {
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.uint(&o.seq)
		case 2:
			f.uint8((*uint8)(&o.status))
		case 3:
			f.uint(&o.token)
		case 4:
			if f.again {
				f.fail("field 4 twice")
				break
			}
			o.ended = new(hold)
			f.message(func(body []byte) error { return o.ended.decode(body, nil) })
		default:
			f.unknown("outcome")
		}
	}
	return f.err
}

// ticket puts each ticket behind those before it, which have lower numbers.
func (d *snapshotDecoder) ticket(body []byte) error {
	t := new(ticket)
	var identity string
	f := fields{rest: body}
	for f.next() {
		switch f.num {
		case 1:
			f.uint(&t.number)
		case 2:
			f.text(&t.name, sema.MaxNameBytes)
		case 3:
			f.text(&t.owner, sema.MaxOwnerBytes)
		case 4:
			f.int((*int64)(&t.timeout))
		case 5:
			f.int(&t.since)
		case 6:
			f.client(&t.attempt.client)
		case 7:
			f.uint(&t.attempt.seq)
		case 8:
			f.text(&identity, maxIdentityBytes)
		default:
			f.unknown("ticket")
		}
	}
	if f.err != nil {
		return f.err
	}
	st := d.state
	if t.number <= d.lastTicket || t.number > st.tickets.last {
		return malformed("ticket %d after %d, last ticket %d", t.number, d.lastTicket, st.tickets.last)
	}
	d.lastTicket = t.number
	if t.attempt.client.IsZero() || t.attempt.seq == 0 || st.tickets.byAttempt[t.attempt] != nil {
		return malformed("ticket %d of attempt %d of client %x, or its attempt has two", t.number, t.attempt.seq, t.attempt.client)
	}
	if t.timeout <= 0 {
		return malformed("ticket %d with timeout %v", t.number, t.timeout)
	}
	s, held := st.semaphores.get(t.name)
	if !held || s.free() || s.line.length >= MaxWaiting {
		return malformed("ticket %d waits for %q, which is free or has a full line", t.number, t.name)
	}
	t.account = st.accounts.of(identity)
	t.name = s.name // one string for a whole line
	st.enqueue(s, t)
	return nil
}

func (d *snapshotDecoder) trailer(body []byte, length uint64, sum uint32) error {
	if want := appendTrailer(nil, length, sum); !bytes.Equal(body, want) {
		return malformed("%d bytes with checksum %08x, but the trailer is %x, not %x", length, sum, body, want)
	}
	semaphores, clients := d.state.semaphores.len(), d.state.clients.young.len()+d.state.clients.old.len()
	tickets := d.state.tickets.byNumber.Len()
	if uint64(semaphores) != d.semaphores || uint64(clients) != d.clients || uint64(tickets) != d.tickets {
		return malformed("%d semaphores, %d clients and %d tickets, written were %d, %d and %d",
			semaphores, clients, tickets, d.semaphores, d.clients, d.tickets)
	}
	d.done = true
	return nil
}
