package transport

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/tally"
	"github.com/semanode/sema/transport/semav1"
)

// Calls counts what a [Server] or a [Local] answers: each call once, whether it came by
// itself or in an exchange. A nil one counts nothing and costs nothing.
type Calls struct {
	methods  []methodCalls  // fixed after NewCalls
	byName   map[string]int // of gRPC's full names; fixed
	exchange [MethodGet + 1]int
	acquires [sema.ForcedReleased + 1]atomic.Uint64 // answers, by status
	open     atomic.Int64                           // those that did not come in an exchange

	mu        sync.Mutex
	exchanges map[*exchange]struct{} // that are open
}

type methodCalls struct {
	name  string
	codes [callCodes]atomic.Uint64
	took  *tally.Histogram
}

// callCodes is how many codes a call may end with: zero for none, those of the contract
// by their numbers, and from grpcCodes on those that only gRPC has.
const (
	grpcCodes = 32
	callCodes = grpcCodes + int(codes.Unauthenticated) + 1
)

// NewCalls returns a Calls that has counted nothing.
func NewCalls() *Calls {
	c := &Calls{byName: map[string]int{}, exchanges: map[*exchange]struct{}{}}
	add := func(name string) {
		c.byName["/"+semav1.Sema_ServiceDesc.ServiceName+"/"+name] = len(c.methods)
		c.methods = append(c.methods, methodCalls{name: name, took: tally.Durations(
			250*time.Microsecond, 500*time.Microsecond, time.Millisecond, 2500*time.Microsecond, 5*time.Millisecond, 10*time.Millisecond,
			25*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 250*time.Millisecond, 500*time.Millisecond,
			time.Second, 2500*time.Millisecond, 5*time.Second, 10*time.Second)})
	}
	for _, m := range semav1.Sema_ServiceDesc.Methods {
		add(m.MethodName)
	}
	for _, s := range semav1.Sema_ServiceDesc.Streams {
		if full := "/" + semav1.Sema_ServiceDesc.ServiceName + "/" + s.StreamName; full != semav1.Sema_Exchange_FullMethodName {
			add(s.StreamName) // an exchange is no call
		}
	}
	for m, full := range map[Method]string{MethodAcquire: semav1.Sema_Acquire_FullMethodName, MethodWait: semav1.Sema_Wait_FullMethodName,
		MethodTouch: semav1.Sema_Touch_FullMethodName, MethodRelease: semav1.Sema_Release_FullMethodName, MethodGet: semav1.Sema_Get_FullMethodName} {
		c.exchange[m] = c.byName[full]
	}
	return c
}

// CallsOf is what became of the calls of one method.
type CallsOf struct {
	Method string            // as the protocol has it, such as "Acquire"
	Codes  map[string]uint64 // calls by code, those that there were; "OK" is always there
	Took   tally.Snapshot    // nanoseconds from reading the call to its answer
}

// Read returns what was counted, by method.
func (c *Calls) Read() []CallsOf {
	all := make([]CallsOf, len(c.methods))
	for i := range c.methods {
		m := &c.methods[i]
		all[i] = CallsOf{Method: m.name, Codes: map[string]uint64{}, Took: m.took.Read()}
		for code := range m.codes {
			if n := m.codes[code].Load(); n > 0 || code == 0 {
				all[i].Codes[codeName(code)] += n
			}
		}
	}
	return all
}

// Acquires returns how many acquires, and waits in line, were answered with a status.
func (c *Calls) Acquires(s sema.Status) uint64 { return c.acquires[s].Load() }

// Open returns how many calls are not answered yet, and how many exchanges are open. It
// takes O(exchanges).
func (c *Calls) Open() (calls, exchanges int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls = int(c.open.Load())
	for ex := range c.exchanges {
		ex.mu.Lock()
		calls += len(ex.open)
		ex.mu.Unlock()
	}
	return calls, len(c.exchanges)
}

// now is when a call came, as answered wants it. The clock is not looked at for nobody.
func (c *Calls) now() time.Time {
	if c == nil {
		return time.Time{}
	}
	return time.Now()
}

// count counts the end of a call.
func (c *Calls) count(method int, err error, took time.Duration) {
	m := &c.methods[method]
	m.codes[codeNumber(err)].Add(1)
	m.took.Observe(int64(took))
}

// answered counts calls of an exchange that are about to be told their answers: before
// they are, so that whoever has an answer finds it counted.
func (c *Calls) answered(batch []*exchanged) {
	if c == nil || len(batch) == 0 {
		return
	}
	now := time.Now()
	var good [MethodGet + 1]uint64 // as most are: added together
	var acquired uint64
	for _, x := range batch {
		if x.Err != nil || x.Method < MethodAcquire || x.Method > MethodGet {
			c.ended(x, x.Err, now)
			continue
		}
		good[x.Method]++
		c.methods[c.exchange[x.Method]].took.Observe(int64(now.Sub(x.began)))
		switch {
		case x.Method != MethodAcquire && x.Method != MethodWait:
		case x.Info.Status == sema.Acquired:
			acquired++
		default:
			c.status(x.Info.Status)
		}
	}
	for m, n := range good {
		if n > 0 {
			c.methods[c.exchange[m]].codes[0].Add(n)
		}
	}
	c.acquires[sema.Acquired].Add(acquired)
}

// ended counts a call of an exchange.
func (c *Calls) ended(x *exchanged, err error, now time.Time) {
	if c == nil || x.Method < MethodAcquire || x.Method > MethodGet {
		return // of a method that this build does not know, there is no name
	}
	if x.Method == MethodWait && !x.Deadline.IsZero() {
		err = inVain(err, x.Deadline, now)
	}
	c.count(c.exchange[x.Method], err, now.Sub(x.began))
	if err == nil && (x.Method == MethodAcquire || x.Method == MethodWait) {
		c.status(x.Info.Status)
	}
}

func (c *Calls) status(s sema.Status) {
	if int(s) < len(c.acquires) {
		c.acquires[s].Add(1)
	}
}

// enter and leave keep the exchanges that are open.
func (c *Calls) enter(ex *exchange) {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.exchanges[ex] = struct{}{}
	}
}

func (c *Calls) leave(ex *exchange) {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.exchanges, ex)
	}
}

// inVain is how a wait is counted that ended with err at now. One whose own time was up
// has waited in vain, which is no fault, though its caller may be told that the outcome is
// unknown, or hang up first, or have given its place back already by a call of its own.
func inVain(err error, deadline, now time.Time) error {
	code := codeNumber(err)
	ended := code == int(semav1.ErrorCode_OUTCOME_UNKNOWN) || code == int(semav1.ErrorCode_ATTEMPT_FINISHED) || code == grpcCodes+int(codes.Canceled)
	if ended && now.After(deadline.Add(-sameMoment)) {
		return context.DeadlineExceeded
	}
	return err
}

// one carries out a call that came by itself.
func (c *Calls) one(ctx context.Context, method string, call func() (resp any, err error)) (any, error) {
	number, known := 0, false
	if c != nil {
		number, known = c.byName[method]
	}
	if !known {
		return call()
	}
	c.open.Add(1)
	began := time.Now()
	defer c.open.Add(-1)
	resp, err := call()
	now, counted := time.Now(), err
	if deadline, ok := ctx.Deadline(); ok && method == semav1.Sema_Wait_FullMethodName {
		counted = inVain(err, deadline, now)
	}
	c.count(number, counted, now.Sub(began))
	if err == nil && method == semav1.Sema_Wait_FullMethodName { // which has no other good end
		c.status(sema.Acquired)
	}
	if granting, ok := resp.(interface{ GetInfo() *semav1.Info }); ok && err == nil && method == semav1.Sema_Acquire_FullMethodName {
		c.status(sema.Status(granting.GetInfo().GetStatus()))
	}
	return resp, err
}

// options are a server's that counts.
func (c *Calls) options() []grpc.ServerOption {
	if c == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(c.unary), grpc.ChainStreamInterceptor(c.streaming)}
}

// unary is an interceptor for calls of their own. The methods of other services are not
// counted.
func (c *Calls) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return c.one(ctx, info.FullMethod, func() (any, error) { return handle(ctx, req) })
}

// streaming is an interceptor for waits of their own.
func (c *Calls) streaming(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	_, err := c.one(stream.Context(), info.FullMethod, func() (any, error) { return nil, handle(srv, stream) })
	return err
}

// codeNumber is what a call ended with, as an index.
func codeNumber(err error) int {
	if err == nil {
		return 0
	}
	err = ErrorFromStatus(err)
	for _, row := range errorTable {
		if errors.Is(err, row.sentinel) {
			return int(row.code)
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return grpcCodes + int(codes.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return grpcCodes + int(codes.Canceled)
	}
	if code := status.Code(err); int(code) < callCodes-grpcCodes {
		return grpcCodes + int(code)
	}
	return grpcCodes + int(codes.Unknown)
}

// codeName is the name of such an index, in the capitals of the protocol.
func codeName(number int) string {
	switch {
	case number == 0:
		return codes.OK.String()
	case number < grpcCodes:
		return semav1.ErrorCode(number).String()
	}
	return capitals(codes.Code(number - grpcCodes).String())
}

// capitals writes DeadlineExceeded as DEADLINE_EXCEEDED.
func capitals(s string) string {
	var b []byte
	for i := range len(s) {
		c := s[i]
		if upper := c >= 'A' && c <= 'Z'; upper && i > 0 {
			b = append(b, '_')
		} else if !upper {
			c -= 'a' - 'A'
		}
		b = append(b, c)
	}
	return string(b)
}
