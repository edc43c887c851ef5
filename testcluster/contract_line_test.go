package testcluster_test

import (
	"context"
	"sync"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/internal/session"
)

// lineFlaws are those of waiting and forking, which a fake cannot do.
var lineFlaws = []flaw{
	"a wait is answered with nothing", "who holds need not wait", "who waits asks again and again",
	"who waits loses the place to who comes", "who waits is served before the deadline",
	"who left keeps the place", "who left has it all the same", "nobody is told the place",
	"nobody is told how many wait", "a fork is no other", "a fork can do less", "a fork is elsewhere",
}

// flawedLine is a Session with a flaw.
type flawedLine struct {
	*session.Session
	flaw flaw
	line *shared
}

// shared is what all users of a flawed line share.
type shared struct {
	mu     sync.Mutex
	asking int                // who ask again and again
	last   context.CancelFunc // makes who came last lose the place
}

// flawedLines returns what opens Services of one node in memory.
func flawedLines(f flaw) func() sema.Service {
	node, line := aging{Node: new(fakenode.Node)}, new(shared)
	if f == "who waits is served before the deadline" {
		node.early = 100 * time.Millisecond
	}
	return func() sema.Service { return flawedLine{session.New(node, sema.ClientID{}), f, line} }
}

// AcquireWait implements [sema.Waiter].
func (l flawedLine) AcquireWait(ctx context.Context, name, owner string, timeout time.Duration, told func(sema.Place)) (sema.Info, error) {
	wait := func(ctx context.Context) (sema.Info, error) {
		return l.Session.AcquireWait(ctx, name, owner, timeout, told)
	}
	switch l.flaw {
	case "a wait is answered with nothing":
		_, err := wait(ctx)
		return sema.Info{}, err
	case "nobody is told the place":
		told = nil
	case "who holds need not wait":
		if info, err := l.Session.Get(ctx, name); err == nil && info.Status == sema.Acquired {
			return info, nil
		}
	case "who waits asks again and again":
		return l.asks(ctx, name, owner, timeout)
	case "who left keeps the place":
		return goOn(ctx, wait)
	case "who left has it all the same":
		info, err := wait(ctx)
		if err == nil {
			<-time.After(time.Millisecond)
			err = ctx.Err()
		}
		return info, err
	case "who waits loses the place to who comes":
		place, lose := context.WithCancel(ctx)
		defer lose()
		l.line.comes(lose)
		if info, err := wait(place); err == nil || ctx.Err() != nil {
			return info, err
		}
	}
	return wait(ctx)
}

// asks acquires in no order.
func (l flawedLine) asks(ctx context.Context, name, owner string, timeout time.Duration) (sema.Info, error) {
	l.line.asks(+1)
	defer l.line.asks(-1)
	for {
		info, err := l.Acquire(ctx, name, owner, timeout)
		if err != nil || info.Status == sema.Acquired {
			return info, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return sema.Info{}, ctx.Err()
		}
	}
}

// goOn returns when ctx ends and lets the call go on.
func goOn(ctx context.Context, wait func(context.Context) (sema.Info, error)) (sema.Info, error) {
	type answer struct {
		info sema.Info
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), straggling)
		defer cancel()
		info, err := wait(ctx)
		answers <- answer{info, err}
	}()
	select {
	case a := <-answers:
		return a.info, a.err
	case <-ctx.Done():
		return sema.Info{}, ctx.Err()
	}
}

func (s *shared) asks(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking += n
}

func (s *shared) comes(lose context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		s.last()
	}
	s.last = lose
}

// Get implements [sema.Service].
func (l flawedLine) Get(ctx context.Context, name string) (sema.Info, error) {
	info, err := l.Session.Get(ctx, name)
	switch l.flaw {
	case "nobody is told how many wait":
		info.Waiting = 0
	case "who waits asks again and again":
		l.line.mu.Lock()
		defer l.line.mu.Unlock()
		info.Waiting = l.line.asking
	}
	return info, err
}

// Fork implements [sema.Forker].
func (l flawedLine) Fork() sema.Service {
	fork := flawedLine{l.Session.Fork().(*session.Session), l.flaw, l.line}
	switch l.flaw {
	case "a fork is no other":
		return l
	case "a fork can do less":
		return struct{ sema.Service }{fork}
	case "a fork is elsewhere":
		return flawedLines(l.flaw)()
	}
	return fork
}
