package transport

import (
	"context"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
)

const (
	// maxTogether bounds the calls in one message. It ends at fullMessage, too, and
	// fits into MaxMessageBytes: a call has at most 512 bytes of name and 256 of owner.
	maxTogether = 1000
	// minSweep is how far apart sweeps are at least, as each looks at all open calls.
	minSweep = 5 * time.Millisecond
	// gatherMore is how many have to have come meanwhile to be worth another look.
	gatherMore = 4
)

// Stream carries the calls of many goroutines to one node, in an exchange: what waits
// to be asked goes in one message. Nothing is waited for that a lone call would have to
// wait for too.
//
// The exchange is opened by the first call, and by the first after it broke. Each has
// two goroutines, one that sends and one that receives, which Close waits for.
type Stream struct {
	conn grpc.ClientConnInterface
	life context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex
	link *link // nil: none is open
}

// NewStream returns a Stream over a connection, which it does not close.
func NewStream(conn grpc.ClientConnInterface) *Stream {
	s := &Stream{conn: conn}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Close ends the calls under way and waits. It is idempotent.
func (s *Stream) Close() {
	s.mu.Lock() // no call opens an exchange from here on
	s.end()
	s.mu.Unlock()
	s.wg.Wait()
}

// link is one exchange, from opening to breaking. What it has is guarded by the
// Stream's mu.
type link struct {
	stream *Stream
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // holds one token: there is something to send

	queue    []*pending // not sent yet
	stale    int        // of queue: over before they were sent
	heard    bool       // the node has said something
	open     map[uint64]*pending
	given    []uint64 // up, and the node is to be told
	lastID   uint64
	draining bool // the node takes nothing more
	sweeper  *time.Timer
	sweepAt  time.Time
}

// pending is a call that was not answered yet.
type pending struct {
	call     *Call
	id       uint64
	deadline time.Time     // zero: none
	news     chan struct{} // holds one token: something below has changed
	sent     bool          // it may have left this process
	over     bool          // it is answered, or has failed
	gone     bool          // the caller has left
	place    *sema.Place   // the latest, if it was not told yet
}

// Do makes a call and fills in its answer. sent is whether the node may have heard of
// it, whatever became of it. The error is a gRPC status. within, unless zero, bounds
// how long the answer may take. told is told the place in line of a Wait, as
// [Backend.Wait] has it, by the goroutine that calls.
func (s *Stream) Do(ctx context.Context, c *Call, within time.Duration, told func(sema.Place)) (sent bool) {
	if err := ctx.Err(); err != nil {
		c.Err = status.FromContextError(err).Err()
		return false
	}
	if err := c.fits(); err != nil {
		c.Err = ErrorToStatus(err)
		return false
	}
	p := &pending{call: c, news: make(chan struct{}, 1)}
	if within > 0 {
		p.deadline = time.Now().Add(within)
	}
	if d, ok := ctx.Deadline(); ok && (within == 0 || d.Before(p.deadline)) {
		p.deadline = d
	}
	l, err := s.enqueue(p)
	if err != nil {
		c.Err = err
		return false
	}
	for {
		select {
		case <-p.news:
		case <-ctx.Done():
			if sent, over := l.leave(p); !over {
				c.Err = status.FromContextError(ctx.Err()).Err()
				return sent
			}
			return p.sent
		}
		if c.Method != MethodWait {
			return p.sent
		}
		place, over := l.look(p)
		if over {
			return p.sent
		}
		if place != nil && told != nil {
			told(*place)
		}
	}
}

// fits refuses what would break the message for the others in it.
func (c *Call) fits() error {
	acquires := c.Method == MethodAcquire || c.Method == MethodWait
	switch {
	case c.Method < MethodAcquire || c.Method > MethodGet:
		return status.Errorf(codes.Unimplemented, "no method has the number %d", c.Method)
	case len(c.Name) > sema.MaxNameBytes || !utf8.ValidString(c.Name),
		acquires && (len(c.Owner) > sema.MaxOwnerBytes || !utf8.ValidString(c.Owner)):
		if acquires {
			return sema.Validate(c.Name, c.Owner, c.Timeout)
		}
		return sema.ValidateName(c.Name)
	}
	return nil
}

// enqueue puts a call into the queue of the exchange that is open, or of a new one.
func (s *Stream) enqueue(p *pending) (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life.Err() != nil {
		return nil, status.Error(codes.Canceled, "the connection is closing")
	}
	if s.link == nil {
		s.link = s.newLink()
		s.wg.Go(s.link.run)
	}
	l := s.link
	l.lastID++
	p.id = l.lastID
	l.open[p.id] = p
	l.queue = append(l.queue, p)
	if !p.deadline.IsZero() {
		l.watch(p.deadline)
	}
	signal(l.wake)
	return l, nil
}

func (s *Stream) newLink() *link {
	l := &link{stream: s, wake: make(chan struct{}, 1), open: map[uint64]*pending{}}
	l.ctx, l.cancel = context.WithCancel(s.life)
	return l
}

// leave notes that the caller of p has gone. over is true if it has its answer.
func (l *link) leave(p *pending) (sent, over bool) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	if !p.over {
		l.drop(p)
	}
	return p.sent, p.over && !p.gone
}

// drop gives up a call without an answer. The Stream's mu is held.
func (l *link) drop(p *pending) {
	p.gone, p.over = true, true
	delete(l.open, p.id)
	if p.sent {
		l.given = append(l.given, p.id)
		signal(l.wake)
		return
	}
	// A node that does not read leaves them where they are: they must not pile up.
	if l.stale++; l.stale > maxTogether && l.stale > len(l.queue)/2 {
		l.queue = slices.DeleteFunc(l.queue, func(p *pending) bool { return p.over })
		l.stale = 0
	}
}

// look is what has become of a Wait.
func (l *link) look(p *pending) (place *sema.Place, over bool) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	place, p.place = p.place, nil
	return place, p.over
}

// watch sees to it that calls end at their deadline. The Stream's mu is held.
func (l *link) watch(deadline time.Time) {
	switch {
	case l.sweeper == nil:
		l.sweeper = time.AfterFunc(time.Until(deadline), l.sweep)
	case l.sweepAt.IsZero() || deadline.Before(l.sweepAt):
		l.sweeper.Reset(time.Until(deadline))
	default:
		return
	}
	l.sweepAt = deadline
}

// sweep ends the calls whose time is up: O(open calls), and only when the time of one
// of them is, or may be.
func (l *link) sweep() {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	now := time.Now()
	var next time.Time
	for _, p := range l.open {
		switch {
		case p.deadline.IsZero():
		case !p.deadline.After(now):
			p.call.Err = status.Error(codes.DeadlineExceeded, "no answer in time")
			l.drop(p)
			p.gone = false // it is there, and this is its answer
			signal(p.news)
		case next.IsZero() || p.deadline.Before(next):
			next = p.deadline
		}
	}
	l.sweepAt = time.Time{}
	if soonest := now.Add(minSweep); !next.IsZero() && next.Before(soonest) {
		next = soonest
	}
	if !next.IsZero() {
		l.watch(next)
	}
}
