package client

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/leash"
	"github.com/semanode/sema/internal/moment"
	"github.com/semanode/sema/internal/sabotage"
	"github.com/semanode/sema/internal/session"
	"github.com/semanode/sema/transport"
)

const (
	// touchBytes bounds the names and tokens of one message, well below what the
	// wire takes.
	touchBytes = transport.MaxMessageBytes * 3 / 4
	// holdBytes is what a hold takes in a message besides its name, at most.
	holdBytes = 24
	// minBeat and maxBeat bound the time that one message is given.
	minBeat = 250 * time.Millisecond
	maxBeat = 10 * time.Second
	// maxRest is how long the keeper sleeps at most: after a suspension of the
	// machine it goes on within that time.
	maxRest = time.Second
)

// keeper keeps all locks of a client alive: one message per beat, which is a third
// of the shortest timeout, less a little at random so that clients do not beat
// together. A message has the locks that would be late if they waited for the
// next one, and is split only if it is too large for the wire.
//
// It has two goroutines while there are locks: one beats, the other watches for
// suspensions of the machine. A beat costs O(locks).
type keeper struct {
	session *session.Session
	touch   func(context.Context, transport.TouchAllRequest) ([]transport.TouchOutcome, error)

	mu       sync.Mutex
	locks    map[*Lock]struct{}
	shortest time.Duration // a third of the shortest timeout, or less; 0 without locks
	next     time.Time     // the next beat
	abort    func()        // ends the message under way; nil if there is none
	running  chan struct{} // closed when both goroutines are gone; nil if there are none
	stop     context.CancelFunc
	changed  chan struct{} // holds one token: next has come closer, or the last lock went
	closed   bool
}

func newKeeper(s *session.Session, touch func(context.Context, transport.TouchAllRequest) ([]transport.TouchOutcome, error)) *keeper {
	return &keeper{session: s, touch: touch, locks: map[*Lock]struct{}{}, changed: make(chan struct{}, 1)}
}

// add is false if the keeper is closed.
func (k *keeper) add(l *Lock) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	k.locks[l] = struct{}{}
	third := l.info.Timeout / 3
	if k.shortest == 0 || third < k.shortest {
		if k.shortest = third; k.abort != nil {
			time.AfterFunc(max(third, minBeat), k.abort) // it was given more time than this lock has
		}
	}
	first := time.Now().Add(max(0, jitter(third-l.touched.Elapsed())))
	if k.running == nil {
		k.next = first
		ctx, stop := context.WithCancel(context.Background())
		k.stop, k.running = stop, make(chan struct{})
		go k.run(ctx, k.running)
	} else if first.Before(k.next) {
		k.next = first
		k.wake()
	}
	return true
}

func (k *keeper) remove(l *Lock) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.locks, l)
	if len(k.locks) == 0 {
		k.wake()
	}
}

// wake is called with mu held.
func (k *keeper) wake() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// close ends the goroutines and waits for them. It is idempotent.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	running := k.running
	if running != nil {
		k.stop()
	}
	k.mu.Unlock()
	if running != nil {
		<-running
	}
}

// run beats until there are no locks left, or ctx ends.
func (k *keeper) run(ctx context.Context, gone chan struct{}) {
	defer close(gone)
	var watching sync.WaitGroup
	defer watching.Wait() // it ends with ctx
	watching.Go(func() { k.watch(ctx) })
	woke := moment.Now()
	for {
		timer := time.NewTimer(min(k.untilNext(), maxRest))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-k.changed:
			timer.Stop()
		}
		now := moment.Now()
		slept := now.SleptSince(woke) > 0 // whoever has not lost its lock yet is in a hurry
		woke = now
		if k.rest() {
			return
		}
		if slept || k.untilNext() <= 0 {
			k.plan(k.beat(ctx))
		}
	}
}

// watch looks at the clocks for all leashes after each suspension of the machine,
// during which their timers stood still. A beat may be under way for longer than that
// may take.
func (k *keeper) watch(ctx context.Context) {
	tick := time.NewTicker(leash.MaxRest)
	defer tick.Stop()
	for woke := moment.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := moment.Now()
		if now.SleptSince(woke) > 0 {
			k.look()
		}
		woke = now
	}
}

// look ends the leashes whose time is up.
func (k *keeper) look() {
	k.mu.Lock()
	locks := slices.Collect(maps.Keys(k.locks))
	k.mu.Unlock()
	for _, l := range locks {
		l.leash.Check()
	}
}

func (k *keeper) untilNext() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return time.Until(k.next)
}

// plan sets the time of the next beat: soon, if this one failed.
func (k *keeper) plan(ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	wait := jitter(k.shortest)
	if !ok {
		wait /= 6
	}
	if at := time.Now().Add(wait); at.Before(k.next) { // who came meanwhile may want it sooner
		k.next = at
	}
}

// jitter is up to a tenth less, at random.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return d
	}
	return d - rand.N(d/10+1)
}

// rest ends the goroutine if there are no locks.
func (k *keeper) rest() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.locks) > 0 {
		return false
	}
	k.stop()
	k.running, k.shortest = nil, 0
	return true
}

// due returns the locks that would be late at the next beat but one, and forgets
// those that are lost.
func (k *keeper) due() []*Lock {
	k.mu.Lock()
	defer k.mu.Unlock()
	shortest := time.Duration(0)
	for l := range k.locks {
		if l.leash.Over() {
			delete(k.locks, l)
		} else if third := l.info.Timeout / 3; shortest == 0 || third < shortest {
			shortest = third
		}
	}
	k.shortest = shortest
	k.next = time.Now().Add(sema.MaxTimeout) // see plan
	var due []*Lock
	now := moment.Now()
	for l := range k.locks {
		if now.Sub(l.touched) > l.info.Timeout/3-shortest {
			due = append(due, l)
		}
	}
	return due
}

// beat touches the locks that are due. It is false if there were any that could
// not be touched.
func (k *keeper) beat(ctx context.Context) (ok bool) {
	due := k.due()
	ok = true
	for len(due) > 0 {
		n, size := 0, 0
		for n < len(due) && n < transport.MaxTouches && size < touchBytes {
			size += len(due[n].info.Name) + holdBytes
			n++
		}
		ok = k.send(ctx, due[:n]) && ok
		due = due[n:]
	}
	return ok
}

// send touches locks in one message.
func (k *keeper) send(ctx context.Context, locks []*Lock) (ok bool) {
	req := transport.TouchAllRequest{Attempt: k.session.Heard(), Holds: make([]transport.HoldID, len(locks))}
	for i, l := range locks {
		req.Holds[i] = transport.HoldID{Name: l.info.Name, Token: l.info.Token}
	}
	ctx, cancel := k.sending(ctx)
	defer cancel()
	sent := moment.Now()
	outcomes, err := k.touch(ctx, req)
	if sabotage.On(sabotage.LateLeash) {
		sent = moment.Now()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.abort = nil; err != nil {
		return false // nobody answered; the deadlines decide how long to try
	}
	ok = true
	now := moment.Now()
	for i, l := range locks {
		switch outcome := outcomes[i]; {
		case outcome.Err == nil:
			if l.leash.ExtendAt(now, sent) { // or else it is too late
				l.touched, l.info.ExpiresAt = sent, outcome.ExpiresAt
			}
		case errors.Is(outcome.Err, sema.ErrNotHeld):
			l.leash.Lose()
			delete(k.locks, l)
		default:
			ok = false
		}
	}
	return ok
}

// sending is the context of a message. A node has half of its time to answer, which
// is the beat; the other half is for another node.
func (k *keeper) sending(ctx context.Context) (context.Context, context.CancelFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, min(max(2*k.shortest, minBeat), maxBeat))
	k.abort = cancel
	return ctx, cancel
}
