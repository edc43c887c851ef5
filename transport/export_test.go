package transport

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/transport/semav1"
)

// The messages of an exchange, as they are written and read by hand.
var (
	AppendCall   = appendCall
	AppendCancel = appendCancel
	AppendAnswer = appendAnswer
	AppendPlace  = appendPlace
)

// InVain is inVain, and SameMoment how near to its deadline a wait has waited in vain.
var InVain = inVain

const SameMoment = sameMoment

// SetLinger changes how long a client that was turned away is listened to.
func SetLinger(t testing.TB, d time.Duration) {
	was := lingerTime
	lingerTime = d
	t.Cleanup(func() { lingerTime = was })
}

// MaxCallTimeout is the longest time that a caller is taken to wait.
const MaxCallTimeout = maxTimeout

// ReadCall is a call as it was read.
type ReadCall struct {
	Call
	ID      uint64
	Timeout time.Duration
	Cancel  bool
	None    bool
}

// ReadCalls reads an ExchangeRequest.
func ReadCalls(data []byte) (all []ReadCall, err error) {
	err = readCalls(data, func(m *callMessage) {
		all = append(all, ReadCall{Call: m.Call, ID: m.id, Timeout: m.timeout, Cancel: m.cancel, None: m.none})
	})
	return all, err
}

// CountCalls reads an ExchangeRequest and keeps nothing of it.
func CountCalls(data []byte) (n int) {
	_ = readCalls(data, func(*callMessage) { n++ })
	return n
}

// ReadAnswer is an answer as it was read.
type ReadAnswer struct {
	Answer
	ID     uint64
	Method Method
	Place  sema.Place
	Waits  bool
}

// ReadAnswers reads an ExchangeResponse.
func ReadAnswers(data []byte) (all []ReadAnswer, draining bool, err error) {
	answers, draining, err := readAnswers(nil, data)
	for _, m := range answers {
		read := ReadAnswer{Answer: m.Answer, ID: m.id, Method: m.method, Waits: m.waits}
		if m.place != nil {
			read.Place = *m.place
		}
		all = append(all, read)
	}
	return all, draining, err
}

// CountAnswers returns a function that reads an ExchangeResponse, time after time, and
// keeps nothing of it.
func CountAnswers() func(data []byte) (n int) {
	var answers []answerMessage
	return func(data []byte) int {
		answers, _, _ = readAnswers(answers[:0], data)
		return len(answers)
	}
}

// LowerExchangeLimits lowers how many calls an exchange may have open, and how many
// may wait in line, until the test ends. It must come before any server.
func LowerExchangeLimits(t testing.TB, open, waits int) {
	before, waitsBefore := maxOpen, maxWaits
	t.Cleanup(func() { maxOpen, maxWaits = before, waitsBefore })
	maxOpen, maxWaits = open, waits
}

// Open is how many calls have no answer in the exchange that takes calls.
func (s *Stream) Open() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return 0
	}
	return len(s.link.open)
}

// Queued is how many places the queue takes up.
func (s *Stream) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return 0
	}
	return len(s.link.queue)
}

// Exchanging reports whether an exchange takes calls.
func (s *Stream) Exchanging() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.link != nil
}

// Untold is the place of a call that its caller was not told yet, zero if there is none.
func (s *Stream) Untold() (position int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link == nil {
		return 0
	}
	for _, p := range s.link.open {
		if p.place != nil {
			position = p.place.Position
		}
	}
	return position
}

// SaveOver serves one call of the backup service over a stream.
func SaveOver(b Backend, m *semav1.SaveRequest, stream grpc.ServerStreamingServer[semav1.SaveResponse]) error {
	return backupHandler{handler: newHandler(ServerConfig{NodeID: "n1", Backend: b}, context.Background())}.Save(m, stream)
}

// SaveStall is how long a client may read nothing of its backup.
const SaveStall = saveStall

// MaxStrangers is how many connections of a port may be silent.
const MaxStrangers = maxStrangers

// TellRefusals returns what logs that somebody was turned away.
func TellRefusals(log hclog.Logger) func(message string, args ...any) {
	return newRefusals(log).tell
}

// HearHello reads an introduction to cluster 1.
func HearHello(conn io.ReadWriter) (StreamKind, error) {
	m := &Mux{cluster: [16]byte{1}, member: "n1", streams: map[StreamKind]chan net.Conn{RaftStream: make(chan net.Conn), GRPCStream: make(chan net.Conn), GuestStream: make(chan net.Conn)}}
	return m.hear(conn)
}

// Methods returns the full names of all methods that the server has.
func (s *Server) Methods() (all []string) {
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			all = append(all, "/"+service+"/"+m.Name)
		}
	}
	return all
}

// HasNeed reports whether a method is in the table of rights.
func HasNeed(method string) bool { _, ok := needs[method]; return ok }

// MayCall judges a call of an exchange by somebody who shows a token.
func MayCall(control *access.Control, token string) func(*Call) error {
	c := &caller{control: control, token: token, from: "127.0.0.1:1"}
	return c.mayCall
}

// DecodeAccount is decodeAccount, and Encode its inverse.
var DecodeAccount = decodeAccount

func (a *Account) Encode() string { return a.encode() }

// The bounds of health watches.
const (
	MaxWatches     = maxWatches
	MaxWatchesEach = maxWatchesEach
)
