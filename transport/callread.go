package transport

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// The reading half of callwire.go. What is read shares no memory with the message.

// callMessage is a sema.v1.Call as it came.
type callMessage struct {
	Call
	id      uint64
	timeout time.Duration // 0: none
	cancel  bool
	none    bool // a method that this build does not know
}

// maxTimeout bounds what a caller may say it waits: longer is as good as for ever.
const maxTimeout = 365 * 24 * time.Hour

// readCalls reads a sema.v1.ExchangeRequest.
// What each is told is good until it returns.
func readCalls(data []byte, each func(*callMessage)) error {
	f := fields{rest: data}
	var m callMessage
	for f.next() {
		if f.is(1, bytesType) {
			m = callMessage{none: true}
			in := f.embedded()
			m.read(&in)
			f.leave(&in)
			if f.err == nil {
				each(&m)
			}
		}
	}
	return f.err
}

func (m *callMessage) read(f *fields) {
	var trace []byte
	for f.next() {
		switch method := f.num - methodField; {
		case f.is(1, varintType):
			m.id = f.bits
		case f.is(2, varintType):
			m.timeout = time.Duration(min(f.bits, uint64(maxTimeout/time.Microsecond))) * time.Microsecond
		case f.is(cancelField, bytesType):
			m.Call, m.none, m.cancel = Call{}, false, true
		case f.typ == bytesType && method >= 1 && method <= protowire.Number(MethodGet):
			m.Call, m.none, m.cancel = Call{Method: Method(method)}, false, false // the last one counts
			in := f.embedded()
			m.readRequest(&in)
			f.leave(&in)
		case f.is(traceField, bytesType):
			if trace = nil; len(f.data) == TraceBytes {
				trace = f.data
			}
		}
	}
	if m.Method != 0 && trace != nil {
		m.Trace = append([]byte(nil), trace...)
	}
}

func (m *callMessage) readRequest(f *fields) {
	acquires := m.Method == MethodAcquire || m.Method == MethodWait
	for f.next() {
		switch {
		case f.is(1, bytesType):
			m.Name = f.text()
		case acquires && f.is(2, bytesType):
			m.Owner = f.text()
		case acquires && f.is(3, bytesType):
			m.Timeout = f.duration()
		case acquires && f.is(4, bytesType):
			in := f.embedded()
			m.readAttempt(&in)
			f.leave(&in)
		case m.Method == MethodWait && f.is(5, varintType):
			m.Positions = f.bits != 0
		case m.Method == MethodGet && f.is(2, varintType):
			m.Stale = f.bits != 0
		case m.Method == MethodGet && f.is(3, varintType):
			m.Line = int(uint32(f.bits))
		case m.Method == MethodGet || acquires: // what follows is of touches and releases
		case f.is(2, varintType):
			m.Token = f.bits
		case f.is(3, bytesType):
			in := f.embedded()
			m.readAttempt(&in)
			f.leave(&in)
		}
	}
}

func (m *callMessage) readAttempt(f *fields) {
	for f.next() {
		switch {
		case f.is(1, bytesType) && len(f.data) == len(m.Attempt.Client):
			copy(m.Attempt.Client[:], f.data)
		case f.is(1, bytesType) && len(f.data) > 0:
			m.Err = invalidInt("attempt.client", len(f.data), "16 bytes")
		case f.is(2, varintType):
			m.Attempt.Seq = f.bits
		case f.is(3, varintType):
			m.Attempt.LowestOpen = f.bits
		case f.is(4, varintType):
			m.Retry = f.bits != 0
		}
	}
}

// answerMessage is a sema.v1.Answer as it came.
type answerMessage struct {
	Answer
	id     uint64
	method Method      // 0 with an error
	place  *sema.Place // nil: none was told
	waits  bool        // in line, as place says, and the answer comes later
}

// readAnswers appends the answers of a sema.v1.ExchangeResponse to dst.
func readAnswers(dst []answerMessage, data []byte) (_ []answerMessage, draining bool, err error) {
	f := fields{rest: data}
	for f.next() {
		switch {
		case f.is(1, bytesType):
			dst = append(dst, answerMessage{})
			in := f.embedded()
			dst[len(dst)-1].read(&in)
			f.leave(&in)
		case f.is(drainingField, varintType):
			draining = f.bits != 0
		}
	}
	return dst, draining, f.err
}

func (m *answerMessage) read(f *fields) {
	for f.next() {
		switch method := f.num - methodField; {
		case f.is(1, varintType):
			m.id = f.bits
		case f.is(2, bytesType):
			m.Leader = f.text()
		case f.is(errorField, bytesType):
			m.Err, m.method, m.waits = readError(f.data), 0, false
		case f.typ == bytesType && method >= 1 && method <= protowire.Number(MethodGet):
			m.Err, m.method, m.waits = nil, Method(method), Method(method) == MethodWait
			in := f.embedded()
			m.readResponse(&in)
			f.leave(&in)
		}
	}
}

func (m *answerMessage) readResponse(f *fields) {
	if m.method == MethodWait {
		m.place = new(sema.Place)
	}
	for f.next() {
		switch {
		case m.method == MethodRelease:
			if f.is(1, varintType) {
				m.Released = f.bits != 0
			}
		case m.method == MethodWait && f.is(1, varintType):
			m.place.Position = int(uint32(f.bits))
		case m.method == MethodWait && f.is(2, bytesType):
			in := f.embedded()
			readInfo(&in, &m.Info)
			f.leave(&in)
			m.waits = false
		case m.method == MethodWait && f.is(3, bytesType):
			in := f.embedded()
			readInfo(&in, &m.place.Holder)
			f.leave(&in)
		case m.method != MethodWait && f.is(1, bytesType):
			in := f.embedded()
			readInfo(&in, &m.Info)
			f.leave(&in)
		case m.method == MethodGet && f.is(2, bytesType):
			var t sema.Ticket
			in := f.embedded()
			readTicket(&in, &t)
			f.leave(&in)
			m.Tickets = append(m.Tickets, t)
		}
	}
}

// readError reads a google.rpc.Status. It is never nil: who has an error, has one.
func readError(data []byte) error {
	var st spb.Status
	if err := proto.Unmarshal(data, &st); err != nil {
		return status.Errorf(codes.Internal, "an error that cannot be read: %v", err)
	}
	if st.GetCode() == int32(codes.OK) {
		return status.Error(codes.Internal, "an error without a code")
	}
	return status.FromProto(&st).Err()
}

func readInfo(f *fields, info *sema.Info) {
	for f.next() {
		switch {
		case f.is(1, varintType):
			info.Status = statusFromWire(semav1.Status(f.bits))
		case f.is(2, bytesType):
			info.Name = f.text()
		case f.is(3, bytesType):
			info.Owner = f.text()
		case f.is(4, bytesType):
			info.Timeout = f.duration()
		case f.is(5, varintType):
			info.Token = f.bits
		case f.is(6, bytesType):
			info.ExpiresAt = f.time()
		case f.is(7, bytesType):
			info.CreatedAt = f.time()
		case f.is(8, bytesType):
			info.UpdatedAt = f.time()
		case f.is(9, varintType):
			info.Waiting = int(uint32(f.bits))
		}
	}
}

func readTicket(f *fields, t *sema.Ticket) {
	for f.next() {
		switch {
		case f.is(1, varintType):
			t.Position = int(uint32(f.bits))
		case f.is(2, bytesType):
			t.Owner = f.text()
		case f.is(3, bytesType):
			t.Since = f.time()
		}
	}
}

func (f *fields) duration() time.Duration {
	seconds, nanos := f.span()
	d := durationpb.Duration{Seconds: seconds, Nanos: int32(nanos)}
	return d.AsDuration() // within what a time.Duration can say
}

func (f *fields) time() time.Time { return time.Unix(f.span()).UTC() }

// fields reads a message field by field. Fields that are not known are passed over, as
// protobuf has it; of a field that stands there twice the last one counts.
type fields struct {
	rest []byte
	err  error

	num  protowire.Number
	typ  protowire.Type
	bits uint64 // of a varint
	data []byte // of bytes; shares memory with the input
}

func (f *fields) next() bool {
	for f.err == nil && len(f.rest) > 0 {
		var n int
		if f.num, f.typ, n = protowire.ConsumeTag(f.rest); n < 0 {
			f.err = protowire.ParseError(n)
			return false
		}
		f.rest = f.rest[n:]
		f.bits, f.data = 0, nil
		switch f.typ {
		case varintType:
			f.bits, n = protowire.ConsumeVarint(f.rest)
		case bytesType:
			f.data, n = protowire.ConsumeBytes(f.rest)
		default:
			n = protowire.ConsumeFieldValue(f.num, f.typ, f.rest)
		}
		if n < 0 {
			f.err = protowire.ParseError(n)
			return false
		}
		f.rest = f.rest[n:]
		if f.typ == varintType || f.typ == bytesType {
			return true
		}
	}
	return false
}

// is reports whether this is the field, of that type.
func (f *fields) is(num protowire.Number, typ protowire.Type) bool {
	return f.num == num && f.typ == typ
}

func (f *fields) text() string {
	if !utf8.Valid(f.data) {
		f.fail(errors.New("text that is not UTF-8"))
		return ""
	}
	return string(f.data)
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = fmt.Errorf("field %d: %w", f.num, err)
	}
}

// embedded reads the message in this field; leave must follow.
func (f *fields) embedded() fields { return fields{rest: f.data} }

func (f *fields) leave(inner *fields) {
	if inner.err != nil {
		f.fail(inner.err)
	}
}

// span reads a Duration or a Timestamp.
func (f *fields) span() (seconds, nanos int64) {
	inner := f.embedded()
	for inner.next() {
		switch {
		case inner.is(1, varintType):
			seconds = int64(inner.bits)
		case inner.is(2, varintType):
			nanos = int64(int32(inner.bits))
		}
	}
	f.leave(&inner)
	return seconds, nanos
}
