package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// callToWire is a call as the generated code has it.
func callToWire(id uint64, c *transport.Call, timeout time.Duration) *semav1.Call {
	m := &semav1.Call{Id: id, TimeoutMicros: uint64(timeout.Microseconds()), Trace: c.Trace}
	attempt := transport.AttemptToWire(c.Attempt, c.Retry)
	switch c.Method {
	case transport.MethodAcquire:
		m.Request = &semav1.Call_Acquire{Acquire: &semav1.AcquireRequest{Name: c.Name, Owner: c.Owner, Timeout: durationpb.New(c.Timeout), Attempt: attempt}}
	case transport.MethodWait:
		m.Request = &semav1.Call_Wait{Wait: &semav1.WaitRequest{Name: c.Name, Owner: c.Owner, Timeout: durationpb.New(c.Timeout), Attempt: attempt, Positions: c.Positions}}
	case transport.MethodTouch:
		m.Request = &semav1.Call_Touch{Touch: &semav1.TouchRequest{Name: c.Name, Token: c.Token, Attempt: attempt}}
	case transport.MethodRelease:
		m.Request = &semav1.Call_Release{Release: &semav1.ReleaseRequest{Name: c.Name, Token: c.Token, Attempt: attempt}}
	case transport.MethodGet:
		m.Request = &semav1.Call_Get{Get: &semav1.GetRequest{Name: c.Name, Stale: c.Stale, Line: uint32(c.Line)}}
	}
	return m
}

// callFromWire is a call of the generated code as it is to be read.
func callFromWire(m *semav1.Call) transport.ReadCall {
	got := transport.ReadCall{ID: m.GetId(), Timeout: transport.MaxCallTimeout}
	if us := m.GetTimeoutMicros(); us < uint64(transport.MaxCallTimeout/time.Microsecond) {
		got.Timeout = time.Duration(us) * time.Microsecond
	}
	c := &got.Call
	var attempt *semav1.Attempt
	switch r := m.GetRequest().(type) {
	case *semav1.Call_Acquire:
		c.Method, c.Name, c.Owner, c.Timeout = transport.MethodAcquire, r.Acquire.GetName(), r.Acquire.GetOwner(), r.Acquire.GetTimeout().AsDuration()
		attempt = r.Acquire.GetAttempt()
	case *semav1.Call_Wait:
		c.Method, c.Name, c.Owner, c.Timeout = transport.MethodWait, r.Wait.GetName(), r.Wait.GetOwner(), r.Wait.GetTimeout().AsDuration()
		attempt, c.Positions = r.Wait.GetAttempt(), r.Wait.GetPositions()
	case *semav1.Call_Touch:
		c.Method, c.Name, c.Token, attempt = transport.MethodTouch, r.Touch.GetName(), r.Touch.GetToken(), r.Touch.GetAttempt()
	case *semav1.Call_Release:
		c.Method, c.Name, c.Token, attempt = transport.MethodRelease, r.Release.GetName(), r.Release.GetToken(), r.Release.GetAttempt()
	case *semav1.Call_Get:
		c.Method, c.Name, c.Stale, c.Line = transport.MethodGet, r.Get.GetName(), r.Get.GetStale(), int(r.Get.GetLine())
	case *semav1.Call_Cancel:
		got.Cancel = true
	default:
		got.None = true
	}
	c.Attempt.Seq, c.Attempt.LowestOpen, c.Retry = attempt.GetSeq(), attempt.GetLowestOpen(), attempt.GetRetry()
	switch id := attempt.GetClient(); len(id) {
	case 0:
	case 16:
		copy(c.Attempt.Client[:], id)
	default:
		c.Err = &sema.InvalidError{Field: "attempt.client", Value: fmt.Sprint(len(id)), Limit: "16 bytes"}
	}
	return got
}

// answerToWire is an answer as the generated code has it.
func answerToWire(t testing.TB, id uint64, c *transport.Call) *semav1.Answer {
	m := &semav1.Answer{Id: id, Leader: c.Leader}
	if c.Err != nil {
		data, err := proto.Marshal(status.Convert(transport.ErrorToStatus(c.Err)).Proto())
		if err != nil {
			t.Fatal(err)
		}
		m.Response = &semav1.Answer_Error{Error: data}
		return m
	}
	info := transport.InfoToWire(c.Info)
	if info.Name == c.Name {
		info.Name = ""
	}
	switch c.Method {
	case transport.MethodAcquire:
		m.Response = &semav1.Answer_Acquire{Acquire: &semav1.AcquireResponse{Info: info}}
	case transport.MethodWait:
		m.Response = &semav1.Answer_Wait{Wait: &semav1.WaitResponse{Info: info}}
	case transport.MethodTouch:
		m.Response = &semav1.Answer_Touch{Touch: &semav1.TouchResponse{Info: info}}
	case transport.MethodRelease:
		m.Response = &semav1.Answer_Release{Release: &semav1.ReleaseResponse{Released: c.Released}}
	case transport.MethodGet:
		got := &semav1.GetResponse{Info: info}
		page := transport.ListResult{Lines: map[string][]sema.Ticket{"": c.Tickets}}
		for _, ticket := range page.Lines[""] {
			m := &semav1.Ticket{Position: uint32(ticket.Position), Owner: ticket.Owner}
			if !ticket.Since.IsZero() {
				m.Since = transport.InfoToWire(sema.Info{CreatedAt: ticket.Since}).GetCreatedAt()
			}
			got.Line = append(got.Line, m)
		}
		m.Response = &semav1.Answer_Get{Get: got}
	}
	return m
}

// answerFromWire is an answer of the generated code as it is to be read, but for its
// error, of which there is only whether there is one.
func answerFromWire(m *semav1.Answer) (got transport.ReadAnswer, failed bool) {
	got.ID, got.Leader = m.GetId(), m.GetLeader()
	switch r := m.GetResponse().(type) {
	case *semav1.Answer_Acquire:
		got.Method, got.Info = transport.MethodAcquire, transport.InfoFromWire(r.Acquire.GetInfo())
	case *semav1.Answer_Wait:
		got.Method, got.Info, got.Waits = transport.MethodWait, transport.InfoFromWire(r.Wait.GetInfo()), r.Wait.GetInfo() == nil
		got.Place = sema.Place{Position: int(r.Wait.GetPosition()), Holder: transport.InfoFromWire(r.Wait.GetHolder())}
	case *semav1.Answer_Touch:
		got.Method, got.Info = transport.MethodTouch, transport.InfoFromWire(r.Touch.GetInfo())
	case *semav1.Answer_Release:
		got.Method, got.Released = transport.MethodRelease, r.Release.GetReleased()
	case *semav1.Answer_Get:
		got.Method, got.Info, got.Tickets = transport.MethodGet, transport.InfoFromWire(r.Get.GetInfo()), transport.LineFromWire(r.Get.GetLine())
	case *semav1.Answer_Error:
		failed = true
	}
	return got, failed
}

// Generators. Text may be longer than any that is valid: lengths then take two bytes.

func drawText(t *rapid.T, label string) string {
	return rapid.StringN(0, 400, 1000).Draw(t, label)
}

func drawMoment(t *rapid.T, label string) time.Time {
	nanos := rapid.Int64().Draw(t, label)
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

func drawInfo(t *rapid.T) sema.Info {
	return sema.Info{
		Status: sema.Status(rapid.Byte().Draw(t, "status")), Name: drawText(t, "info.name"), Owner: drawText(t, "info.owner"),
		Timeout: time.Duration(rapid.Int64().Draw(t, "info.timeout")), Token: rapid.Uint64().Draw(t, "info.token"),
		ExpiresAt: drawMoment(t, "expires"), CreatedAt: drawMoment(t, "created"), UpdatedAt: drawMoment(t, "updated"),
		Waiting: int(rapid.Uint32().Draw(t, "waiting")),
	}
}

// drawCall draws a call with what its method has, and nothing else.
func drawCall(t *rapid.T) transport.Call {
	c := transport.Call{Method: transport.Method(rapid.IntRange(int(transport.MethodAcquire), int(transport.MethodGet)).Draw(t, "method")), Name: drawText(t, "name")}
	if rapid.Bool().Draw(t, "traced") {
		c.Trace = rapid.SliceOfN(rapid.Byte(), transport.TraceBytes, transport.TraceBytes).Draw(t, "trace")
	}
	if c.Method == transport.MethodGet {
		c.Stale, c.Line = rapid.Bool().Draw(t, "stale"), int(rapid.Uint32().Draw(t, "line"))
		return c
	}
	acquires := c.Method == transport.MethodAcquire || c.Method == transport.MethodWait
	if rapid.Bool().Draw(t, "attempt") {
		copy(c.Attempt.Client[:], rapid.SliceOfN(rapid.ByteMin(1), 16, 16).Draw(t, "client"))
		c.Attempt.Seq, c.Attempt.LowestOpen = rapid.Uint64().Draw(t, "seq"), rapid.Uint64().Draw(t, "lowest")
		c.Retry = acquires && rapid.Bool().Draw(t, "retry")
	}
	if acquires {
		c.Owner, c.Timeout = drawText(t, "owner"), time.Duration(rapid.Int64().Draw(t, "timeout"))
		c.Positions = c.Method == transport.MethodWait && rapid.Bool().Draw(t, "positions")
	} else {
		c.Token = rapid.Uint64().Draw(t, "token")
	}
	return c
}

// drawAnswer answers a call.
func drawAnswer(t *rapid.T, c *transport.Call) {
	c.Leader = rapid.SampledFrom([]string{"", "10.0.0.1:7501"}).Draw(t, "leader")
	if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
		sentinel := rapid.SampledFrom(crossing).Draw(t, "error").sentinel
		c.Err = fmt.Errorf("%s: %w", drawText(t, "text"), sentinel)
		return
	}
	switch c.Method {
	case transport.MethodRelease:
		c.Released = rapid.Bool().Draw(t, "released")
		return
	case transport.MethodGet:
		for range rapid.IntRange(0, 3).Draw(t, "tickets") {
			c.Tickets = append(c.Tickets, sema.Ticket{Position: int(rapid.Uint32().Draw(t, "position")), Owner: drawText(t, "ticket.owner"), Since: drawMoment(t, "since")})
		}
	}
	c.Info = drawInfo(t)
	if rapid.Bool().Draw(t, "same name") {
		c.Info.Name = c.Name
	}
}

func marshal(t interface{ Fatal(...any) }, m proto.Message) []byte {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestExchangeIsProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var byHand []byte
		generated := new(semav1.ExchangeRequest)
		var want []transport.ReadCall
		for range rapid.IntRange(0, 4).Draw(t, "calls") {
			id := rapid.Uint64().Draw(t, "id")
			if rapid.IntRange(0, 5).Draw(t, "cancel") == 0 {
				byHand = transport.AppendCancel(byHand, id)
				generated.Calls = append(generated.Calls, &semav1.Call{Id: id, Request: &semav1.Call_Cancel{Cancel: new(semav1.Cancel)}})
				want = append(want, transport.ReadCall{ID: id, Cancel: true})
				continue
			}
			c := drawCall(t)
			timeout := time.Duration(rapid.Int64Range(0, int64(transport.MaxCallTimeout/time.Microsecond)).Draw(t, "waits")) * time.Microsecond
			byHand = transport.AppendCall(byHand, id, &c, timeout)
			generated.Calls = append(generated.Calls, callToWire(id, &c, timeout))
			want = append(want, transport.ReadCall{Call: c, ID: id, Timeout: timeout})
		}
		if data := marshal(t, generated); !bytes.Equal(byHand, data) {
			t.Fatalf("wrote %x, and the generated code %x", byHand, data)
		}
		got, err := transport.ReadCalls(byHand)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("read %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestExchangeAnswersAreProtobuf(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var byHand []byte
		generated := new(semav1.ExchangeResponse)
		var want []transport.ReadAnswer
		var calls []transport.Call
		for range rapid.IntRange(0, 4).Draw(rt, "answers") {
			id, c := rapid.Uint64().Draw(rt, "id"), drawCall(rt)
			m := new(semav1.Answer)
			if c.Method == transport.MethodWait && rapid.Bool().Draw(rt, "in line") {
				place := sema.Place{Position: int(rapid.Uint32().Draw(rt, "position")), Holder: drawInfo(rt)}
				byHand = transport.AppendPlace(byHand, id, &place, c.Name)
				holder := transport.InfoToWire(place.Holder)
				if place.Holder.Name == c.Name {
					holder.Name = ""
				}
				m = &semav1.Answer{Id: id, Response: &semav1.Answer_Wait{Wait: &semav1.WaitResponse{Position: uint32(place.Position), Holder: holder}}}
			} else {
				drawAnswer(rt, &c)
				byHand = transport.AppendAnswer(byHand, id, &c)
				m = answerToWire(t, id, &c)
			}
			generated.Answers = append(generated.Answers, m)
			answer, _ := answerFromWire(m)
			want, calls = append(want, answer), append(calls, c)
		}
		if data := marshal(rt, generated); !bytes.Equal(byHand, data) {
			rt.Fatalf("wrote %x, and the generated code %x", byHand, data)
		}
		got, draining, err := transport.ReadAnswers(byHand)
		if err != nil || draining || len(got) != len(want) {
			rt.Fatalf("read %+v, %v, %v, want %+v", got, draining, err, want)
		}
		for i := range got {
			if c := calls[i]; !proto.Equal(status.Convert(got[i].Err).Proto(), status.Convert(transport.ErrorToStatus(c.Err)).Proto()) {
				rt.Errorf("%v came back as %v", c.Err, got[i].Err)
			}
			got[i].Err = nil
		}
		if !reflect.DeepEqual(got, want) {
			rt.Fatalf("read %+v, want %+v", got, want)
		}
	})
}

// What of a message is read does not depend on the order or the number of its fields
// where protobuf says so.
func TestExchangeReadsWhatOthersWrite(t *testing.T) {
	get := callToWire(1, &transport.Call{Method: transport.MethodGet, Name: "a"}, 0)
	unknown := marshal(t, get)
	unknown = append(unknown, 0xf8, 0x01, 0x05, 0xfd, 0x01, 1, 2, 3, 4, 0xfb, 0x01, 0x08, 0x07, 0xfc, 0x01) // a varint, a fixed32, a group
	for _, tc := range []struct {
		what string
		call []byte
		want transport.ReadCall
	}{
		{"unknown fields", unknown, callFromWire(get)},
		{"no method", []byte{0x08, 0x02}, transport.ReadCall{ID: 2, None: true}},
		{"a later method", []byte{0x08, 0x02, 0x7a, 0x00}, transport.ReadCall{ID: 2, None: true}},
		{"a method of another type", []byte{0x18, 0x02, 0x08, 0x02}, transport.ReadCall{ID: 2, None: true}},
		{"two methods", []byte{0x42, 0x00, 0x1a, 0x03, 0x0a, 0x01, 'a', 0x3a, 0x00}, transport.ReadCall{Call: transport.Call{Method: transport.MethodGet}}},
		{"a call and then a cancel", []byte{0x1a, 0x03, 0x0a, 0x01, 'a', 0x42, 0x00}, transport.ReadCall{Cancel: true}},
		{"a time limit beyond all", append([]byte{0x10}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x42, 0x00),
			transport.ReadCall{Cancel: true, Timeout: transport.MaxCallTimeout}},
	} {
		got, err := transport.ReadCalls(append([]byte{0x0a, byte(len(tc.call))}, tc.call...))
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], tc.want) {
			t.Errorf("%s: read %+v, %v, want %+v", tc.what, got, err, tc.want)
		}
	}
	for what, message := range map[string][]byte{
		"text that is not UTF-8": transport.AppendCall(nil, 1, &transport.Call{Method: transport.MethodGet, Name: "\xff"}, 0),
		"half a call":            transport.AppendCall(nil, 1, &transport.Call{Method: transport.MethodGet, Name: "abc"}, 0)[:6],
		"field 0":                {0x02, 0x00},
	} {
		if got, err := transport.ReadCalls(message); err == nil {
			t.Errorf("%s: read %+v", what, got)
		}
	}
}

// An error that cannot be read is an error, and so is one that says OK.
func TestExchangeErrorsAreNeverNil(t *testing.T) {
	for what, data := range map[string][]byte{"empty": {}, "OK": {0x08, 0x00}, "garbage": {0xff}} {
		message := marshal(t, &semav1.ExchangeResponse{Answers: []*semav1.Answer{{Id: 1, Response: &semav1.Answer_Error{Error: data}}}})
		got, _, err := transport.ReadAnswers(message)
		if err != nil || len(got) != 1 || status.Code(got[0].Err) != codes.Internal {
			t.Errorf("%s: read %+v, %v, want an error", what, got, err)
		}
	}
	odd := &transport.Call{Method: transport.MethodGet}
	odd.Err = status.Error(codes.Aborted, "\xff")
	if got, _, err := transport.ReadAnswers(transport.AppendAnswer(nil, 1, odd)); err != nil || len(got) != 1 || got[0].Err == nil {
		t.Errorf("an error that cannot travel: read %+v, %v", got, err)
	}
}

func exchangeSeeds(f *testing.F) {
	attempt := sema.Attempt{Client: sema.ClientID(make16(1)), Seq: 3, LowestOpen: 2}
	var requests, answers []byte
	for method := transport.MethodAcquire; method <= transport.MethodGet; method++ {
		c := transport.Call{Method: method, Name: "a", Owner: "me", Timeout: time.Minute, Attempt: attempt, Retry: true, Positions: true, Line: 7, Token: math.MaxUint64}
		requests = transport.AppendCall(requests, uint64(method), &c, time.Second)
		c.Info, c.Released, c.Leader, c.Tickets = cannedInfo, true, "n1:1", cannedLine
		answers = transport.AppendAnswer(answers, uint64(method), &c)
		c.Err = errors.Join(sema.ValidateName(""), sema.ErrNotHeld)
		answers = transport.AppendAnswer(answers, uint64(method), &c)
	}
	requests = transport.AppendCancel(requests, 1)
	answers = transport.AppendPlace(answers, 1, &sema.Place{Position: 1, Holder: cannedInfo}, "a")
	answers = append(answers, 0x10, 0x01)
	for _, whole := range [][]byte{requests, answers} {
		f.Add(whole)
		f.Add(whole[:len(whole)/2])
	}
	f.Add([]byte{})
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x07})       // a length that promises more than there is
	f.Add([]byte{0x0b, 0x0c, 0x0a, 0x02, 0x1a, 0x00, 0x0c}) // groups, one of which does not begin
	f.Add(transport.AppendCall(nil, 1, &transport.Call{Method: transport.MethodTouch, Name: strings.Repeat("x", 300)}, 0))
}

// Whatever the generated code reads, is read here, and a message that is written as
// protobuf writes it means the same.
func FuzzExchangeRequests(f *testing.F) {
	exchangeSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := transport.ReadCalls(data)
		var m semav1.ExchangeRequest
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		if err != nil || len(got) != len(m.GetCalls()) {
			t.Fatalf("read %d calls, %v, want %d", len(got), err, len(m.GetCalls()))
		}
		if !bytes.Equal(marshal(t, &m), data) {
			return
		}
		for i, c := range m.GetCalls() {
			if want := callFromWire(c); !reflect.DeepEqual(got[i], want) {
				t.Errorf("read %+v, want %+v", got[i], want)
			}
		}
	})
}

func FuzzExchangeAnswers(f *testing.F) {
	exchangeSeeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, draining, err := transport.ReadAnswers(data)
		var m semav1.ExchangeResponse
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		if err != nil || len(got) != len(m.GetAnswers()) || draining != m.GetDraining() {
			t.Fatalf("read %d answers, %v, %v, want %d, %v", len(got), draining, err, len(m.GetAnswers()), m.GetDraining())
		}
		if !bytes.Equal(marshal(t, &m), data) {
			return
		}
		for i, a := range m.GetAnswers() {
			want, failed := answerFromWire(a)
			if (got[i].Err != nil) != failed {
				t.Errorf("read the error %v of %v", got[i].Err, a)
			}
			if got[i].Err = nil; !reflect.DeepEqual(got[i], want) {
				t.Errorf("read %+v, want %+v", got[i], want)
			}
		}
	})
}

// A call is written without an object of its own, into a message that is used again.
// Read, it takes one for each text that it has: what is read shares no memory with the
// message. Beside these a message takes two, however many calls it has. The generated
// code takes about ten for a call.
func TestExchangeAllocatesLittle(t *testing.T) {
	const calls = 100
	acquire := transport.Call{Method: transport.MethodAcquire, Name: "jobs/nightly", Owner: "worker 1", Timeout: time.Minute,
		Attempt: sema.Attempt{Client: sema.ClientID(make16(1)), Seq: 300, LowestOpen: 299}}
	acquire.Info = cannedInfo
	acquire.Info.Name = acquire.Name
	message := make([]byte, 0, 64<<10)
	write := func(one func(id uint64)) func() {
		return func() {
			message = message[:0]
			for id := range uint64(calls) {
				one(id)
			}
		}
	}
	writeCalls := write(func(id uint64) { message = transport.AppendCall(message, id, &acquire, time.Second) })
	writeAnswers := write(func(id uint64) { message = transport.AppendAnswer(message, id, &acquire) })
	countAnswers := transport.CountAnswers()
	for _, tc := range []struct {
		what    string
		prepare func()
		run     func()
		most    float64
	}{
		{"writing calls", func() {}, writeCalls, 0},
		{"writing answers", func() {}, writeAnswers, 0},
		{"reading calls", writeCalls, func() { transport.CountCalls(message) }, 2*calls + 2}, // name and owner
		{"reading answers", writeAnswers, func() { countAnswers(message) }, calls + 2},       // owner
	} {
		tc.prepare()
		if n := testing.AllocsPerRun(20, tc.run); n > tc.most {
			t.Errorf("%s: %v allocations for %d, want %v at most", tc.what, n, calls, tc.most)
		}
	}
}
