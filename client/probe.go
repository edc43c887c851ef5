package client

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema/transport/semav1"
)

// probeEvery is how often a node is asked whether it lives while calls wait at it.
// It has as long as any try to answer.
const probeEvery = 2 * time.Second

// probe finds out that a node hangs at which calls wait in line: one that was
// stopped, or cut off without a word, breaks no connection. However many wait,
// there is one question every two seconds. The zero value is ready to use.
type probe struct {
	mu      sync.Mutex
	waiting int
	alive   context.Context // ends when the node does not answer, or nobody waits
	stop    context.CancelFunc
	gone    chan struct{} // closed when the goroutine is gone
}

// watch returns a context that ends with ctx and when the node does not answer,
// and what must be called when the wait is over.
func (n *node) watch(ctx context.Context, limit time.Duration) (context.Context, func()) {
	if n.conn == nil { // this process
		return ctx, func() {}
	}
	p := &n.probe
	p.mu.Lock()
	if p.waiting++; p.waiting == 1 || p.alive.Err() != nil { // it may be alive again
		p.alive, p.stop = context.WithCancel(context.Background())
		p.gone = make(chan struct{})
		go ask(n.client, p.alive, p.stop, limit, p.gone)
	}
	alive := p.alive
	p.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	unwatch := context.AfterFunc(alive, cancel)
	return ctx, func() {
		unwatch()
		cancel()
		p.mu.Lock()
		p.waiting--
		last, gone := p.waiting == 0, p.gone
		if last {
			p.stop()
		}
		p.mu.Unlock()
		if last {
			<-gone
		}
	}
}

// hung reports whether a node did not answer. A refusal is an answer.
func hung(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

// ask asks until there is no answer, or alive ends.
func ask(c semav1.SemaClient, alive context.Context, hangs context.CancelFunc, limit time.Duration, gone chan struct{}) {
	defer close(gone)
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-alive.Done():
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(alive, limit)
		_, err := c.Status(ctx, &semav1.StatusRequest{NodeOnly: true})
		cancel()
		if hung(err) {
			hangs()
			return
		}
	}
}
