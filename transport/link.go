package transport

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// exchangeDesc describes the method to gRPC.
var exchangeDesc = grpc.StreamDesc{StreamName: "Exchange", ClientStreams: true, ServerStreams: true}

// run opens the exchange, and sends and receives until it breaks.
func (l *link) run() {
	defer l.cancel()
	st, err := l.stream.conn.NewStream(l.ctx, &exchangeDesc, semav1.Sema_Exchange_FullMethodName, grpc.ForceCodecV2(protobuf))
	if err != nil {
		l.fail(err)
		return
	}
	_ = st.Context() // from now on gRPC does not open it anew by itself, which it would do with a lock that keeps senders waiting
	received := make(chan struct{})
	go func() {
		defer close(received)
		err := l.receive(st)
		l.fail(err)
		l.cancel() // whoever sends has nobody to send for
	}()
	l.send(st)
	<-received
}

// send sends what is waiting until the exchange breaks.
func (l *link) send(st grpc.ClientStream) {
	var message []byte
	for {
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return
		}
		l.gather()
		for more := true; more; {
			var last bool
			message, more, last = l.take(message[:0])
			if len(message) > 0 && st.SendMsg(Encoded(message)) != nil {
				return // whoever receives learns why
			}
			if last {
				_ = st.CloseSend() // never fails
				return
			}
		}
	}
}

// gather lets those who are about to call go first, so that they travel along: as long
// as each time others have come. Whoever is alone waits for nobody.
func (l *link) gather() {
	for came := 0; ; {
		runtime.Gosched()
		l.stream.mu.Lock()
		n := len(l.queue)
		l.stream.mu.Unlock()
		if n-came < gatherMore || n >= maxTogether {
			return
		}
		came = n
	}
}

// take writes what is waiting into a message. more is true if there is more than fits,
// last if nothing may follow.
func (l *link) take(message []byte) (_ []byte, more, last bool) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	n := 0
	for ; n < len(l.given) && len(message) < fullMessage; n++ {
		message = appendCancel(message, l.given[n])
	}
	l.given = slices.Delete(l.given, 0, n)
	now := time.Now()
	n = 0
	for ; n < min(len(l.queue), maxTogether) && len(message) < fullMessage; n++ {
		p := l.queue[n]
		if p.over {
			l.stale = max(0, l.stale-1)
			continue
		}
		p.sent = true
		message = appendCall(message, p.id, p.call, remaining(now, p.deadline))
	}
	l.queue = slices.Delete(l.queue, 0, n)
	more = len(l.queue)+len(l.given) > 0
	return message, more, l.draining && !more
}

// remaining is how long a caller waits, as the wire has it: zero is for ever.
func remaining(now, deadline time.Time) time.Duration {
	if deadline.IsZero() {
		return 0
	}
	return max(time.Microsecond, deadline.Sub(now))
}

// receive takes answers until the exchange breaks, and returns why.
func (l *link) receive(st grpc.ClientStream) error {
	var message Undecoded
	var answers []answerMessage
	var woken []*pending
	for {
		if err := st.RecvMsg(&message); err != nil {
			return err
		}
		var draining bool
		var err error
		if answers, draining, err = readAnswers(answers[:0], message); err != nil {
			return status.Errorf(codes.Internal, "an ExchangeResponse that cannot be read: %v", err)
		}
		woken = l.deliver(answers, draining, woken[:0])
		clear(answers)
		clear(woken)
	}
}

// deliver gives answers to those who wait for them. It wakes them when all have theirs:
// the first would wait for the lock else, to call again.
func (l *link) deliver(answers []answerMessage, draining bool, woken []*pending) []*pending {
	woken = l.note(answers, draining, woken)
	for _, p := range woken {
		signal(p.news)
	}
	return woken
}

// note takes in answers, and returns whom they are for.
func (l *link) note(answers []answerMessage, draining bool, woken []*pending) []*pending {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	l.heard = true
	for i := range answers {
		m := &answers[i]
		p := l.open[m.id]
		if p == nil {
			continue // its caller has gone
		}
		if m.waits && p.call.Method == MethodWait {
			p.place = m.place
			named(&p.place.Holder, p.call.Name)
		} else {
			if m.Err == nil && m.method != p.call.Method {
				m.Err = status.Errorf(codes.Internal, "the answer is to another method, number %d", m.method)
			}
			delete(l.open, m.id)
			p.call.Answer, p.over = m.Answer, true
			named(&p.call.Info, p.call.Name)
		}
		woken = append(woken, p)
	}
	if draining {
		l.draining = true
		l.retire()
		signal(l.wake)
	}
	return woken
}

// named gives a hold the name that the answer left out.
func named(info *sema.Info, asked string) {
	if info.Name == "" && info.Status != 0 {
		info.Name = asked
	}
}

// retire sees to it that calls to come open another exchange. The Stream's mu is held.
func (l *link) retire() {
	if l.stream.link == l {
		l.stream.link = nil
	}
}

// fail ends all calls that have no answer. What the exchange ended with says nothing
// of any one of them: a code that would is kept only where the node, or what stands
// before it, has refused the exchange as such.
func (l *link) fail(err error) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled:
	case codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated:
		if !l.heard {
			break
		}
		fallthrough
	default: // also io.EOF: the node has ended it
		err = status.Error(codes.Unavailable, fmt.Sprintf("the exchange has ended: %v", err))
	}
	l.retire()
	if l.sweeper != nil {
		l.sweeper.Stop()
	}
	for id, p := range l.open {
		delete(l.open, id)
		p.call.Err, p.over = err, true
		signal(p.news)
	}
	l.queue, l.given = nil, nil
}
