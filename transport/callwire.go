package transport

import (
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/semanode/sema"
)

// The messages of an exchange, written and read by hand: they carry every frequent
// call, and the generated code would make some twenty objects for each. The bytes are
// those of sema.v1.ExchangeRequest and sema.v1.ExchangeResponse, see
// TestExchangeIsProtobuf.

const (
	bytesType  = protowire.BytesType
	varintType = protowire.VarintType
)

// begin starts an embedded message; end writes its length, which takes one byte as a
// rule, and moves the message if it takes more.
func begin(b []byte, num protowire.Number) (_ []byte, at int) {
	b = append(protowire.AppendTag(b, num, bytesType), 0)
	return b, len(b)
}

func end(b []byte, at int) []byte {
	n := len(b) - at
	if n < 0x80 {
		b[at-1] = byte(n)
		return b
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	b = append(b, make([]byte, more)...)
	copy(b[at+more:], b[at:at+n])
	protowire.AppendVarint(b[:at-1], uint64(n))
	return b
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, varintType), v)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return appendUint(b, num, 1)
}

func appendString(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, bytesType), s)
}

// appendSpan writes a Duration or a Timestamp: both are seconds and nanoseconds.
func appendSpan(b []byte, num protowire.Number, seconds, nanos int64) []byte {
	b, at := begin(b, num)
	b = appendUint(b, 1, uint64(seconds))
	b = appendUint(b, 2, uint64(nanos))
	return end(b, at)
}

func appendDuration(b []byte, num protowire.Number, d time.Duration) []byte {
	return appendSpan(b, num, int64(d/time.Second), int64(d%time.Second))
}

func appendTime(b []byte, num protowire.Number, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return appendSpan(b, num, t.Unix(), int64(t.Nanosecond()))
}

func appendAttempt(b []byte, num protowire.Number, a *sema.Attempt, retry bool) []byte {
	if a.Client.IsZero() {
		return b
	}
	b, at := begin(b, num)
	b = protowire.AppendBytes(protowire.AppendTag(b, 1, bytesType), a.Client[:])
	b = appendUint(b, 2, a.Seq)
	b = appendUint(b, 3, a.LowestOpen)
	b = appendBool(b, 4, retry)
	return end(b, at)
}

// appendInfo leaves out the name if it is the one that was asked for.
func appendInfo(b []byte, num protowire.Number, info *sema.Info, asked string) []byte {
	b, at := begin(b, num)
	b = appendUint(b, 1, uint64(info.Status))
	if info.Name != asked {
		b = appendString(b, 2, info.Name)
	}
	b = appendString(b, 3, info.Owner)
	b = appendDuration(b, 4, info.Timeout)
	b = appendUint(b, 5, info.Token)
	b = appendTime(b, 6, info.ExpiresAt)
	b = appendTime(b, 7, info.CreatedAt)
	b = appendTime(b, 8, info.UpdatedAt)
	b = appendUint(b, 9, uint64(info.Waiting))
	return end(b, at)
}

// methodField and the method are the number of the field for it, in a sema.v1.Call as in
// a sema.v1.Answer.
const methodField = 2

// appendCall writes a sema.v1.Call into an ExchangeRequest.
func appendCall(b []byte, id uint64, c *Call, timeout time.Duration) []byte {
	b, outer := begin(b, 1)
	b = appendUint(b, 1, id)
	b = appendUint(b, 2, uint64(timeout.Microseconds()))
	if len(c.Trace) > 0 { // here is where the generated code has it
		b = protowire.AppendBytes(protowire.AppendTag(b, traceField, bytesType), c.Trace)
	}
	b, at := begin(b, methodField+protowire.Number(c.Method))
	switch c.Method {
	case MethodAcquire, MethodWait:
		b = appendString(b, 1, c.Name)
		b = appendString(b, 2, c.Owner)
		b = appendDuration(b, 3, c.Timeout)
		b = appendAttempt(b, 4, &c.Attempt, c.Retry)
		b = appendBool(b, 5, c.Positions && c.Method == MethodWait)
	case MethodTouch, MethodRelease:
		b = appendString(b, 1, c.Name)
		b = appendUint(b, 2, c.Token)
		b = appendAttempt(b, 3, &c.Attempt, false)
	case MethodGet:
		b = appendString(b, 1, c.Name)
		b = appendBool(b, 2, c.Stale)
		b = appendUint(b, 3, uint64(c.Line))
	}
	return end(end(b, at), outer)
}

// traceField is where a sema.v1.Call has its caller's span.
const traceField = 9

// cancelField is where a sema.v1.Call says that another one is given up.
const cancelField = 8

func appendCancel(b []byte, id uint64) []byte {
	b, outer := begin(b, 1)
	b = appendUint(b, 1, id)
	b, at := begin(b, cancelField)
	return end(end(b, at), outer)
}

// errorField is where a sema.v1.Answer has its error.
const errorField = 8

// appendAnswer writes the answer to a call into an ExchangeResponse.
func appendAnswer(b []byte, id uint64, c *Call) []byte {
	b, outer := begin(b, 1)
	b = appendUint(b, 1, id)
	b = appendString(b, 2, c.Leader)
	if c.Err != nil {
		st, _ := status.FromError(ErrorToStatus(c.Err))
		data, err := proto.Marshal(st.Proto())
		if err != nil { // a text that is not UTF-8, of a status that came from elsewhere
			data = nil // is code OK, which readErr takes for an error of its own
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, errorField, bytesType), data)
		return end(b, outer)
	}
	b, at := begin(b, methodField+protowire.Number(c.Method))
	switch c.Method {
	case MethodAcquire, MethodTouch:
		b = appendInfo(b, 1, &c.Info, c.Name)
	case MethodWait:
		b = appendInfo(b, 2, &c.Info, c.Name)
	case MethodRelease:
		b = appendBool(b, 1, c.Released)
	case MethodGet:
		b = appendInfo(b, 1, &c.Info, c.Name)
		for _, t := range c.Tickets {
			b = appendTicket(b, 2, t)
		}
	}
	return end(end(b, at), outer)
}

// appendPlace tells a Wait's place in line.
func appendPlace(b []byte, id uint64, p *sema.Place, asked string) []byte {
	b, outer := begin(b, 1)
	b = appendUint(b, 1, id)
	b, at := begin(b, methodField+protowire.Number(MethodWait))
	b = appendUint(b, 1, uint64(p.Position))
	b = appendInfo(b, 3, &p.Holder, asked)
	return end(end(b, at), outer)
}

func appendTicket(b []byte, num protowire.Number, t sema.Ticket) []byte {
	b, at := begin(b, num)
	b = appendUint(b, 1, uint64(t.Position))
	b = appendString(b, 2, t.Owner)
	b = appendTime(b, 3, t.Since)
	return end(b, at)
}

// drainingField is where a sema.v1.ExchangeResponse says that the node stops.
const drainingField = 2
