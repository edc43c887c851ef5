package testcluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// exchange is a client's stream of calls. What happens to calls happens to each on its
// own, but for what befalls the connection.
type exchange struct {
	grpc.ClientStream
	calls   *calls
	client  semav1.SemaClient
	sending chan struct{} // holds one token while somebody sends

	mu   sync.Mutex
	open map[uint64]*semav1.Call // by id; sent, or on their way
	over bool                    // nothing may be sent any more
}

func newExchange(inner grpc.ClientStream, c *calls, cc grpc.ClientConnInterface) *exchange {
	return &exchange{ClientStream: inner, calls: c, client: semav1.NewSemaClient(cc), sending: make(chan struct{}, 1), open: map[uint64]*semav1.Call{}}
}

// SendMsg implements [grpc.ClientStream].
func (e *exchange) SendMsg(m any) error {
	var all semav1.ExchangeRequest
	if err := proto.Unmarshal(m.(transport.Encoded), &all); err != nil {
		return fmt.Errorf("testcluster: what the client sends cannot be read: %w", err)
	}
	var now []*semav1.Call
	for _, call := range all.GetCalls() {
		if call.GetCancel() != nil && e.takeBack(call.GetId()) {
			continue
		}
		if call.GetCancel() == nil {
			if late, yes := e.calls.strikes(delayCall); yes {
				e.leaveLate(call, late)
				continue
			}
			e.note(call)
		}
		now = append(now, call)
	}
	return e.send(now...)
}

func (e *exchange) note(call *semav1.Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open[call.GetId()] = call
}

// takeBack forgets a call whose caller has gone, and reports whether it had not left.
func (e *exchange) takeBack(id uint64) (unsent bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	call, sent := e.open[id]
	delete(e.open, id)
	return sent && call == nil
}

// leaveLate sends a call later, unless its caller goes first.
func (e *exchange) leaveLate(call *semav1.Call, late time.Duration) {
	e.mu.Lock()
	e.open[call.GetId()] = nil // on its way
	e.mu.Unlock()
	e.calls.after(e.Context(), late, func() {
		e.mu.Lock()
		_, wanted := e.open[call.GetId()]
		if wanted {
			e.open[call.GetId()] = call
		}
		e.mu.Unlock()
		if wanted {
			_ = e.send(call) // the client learns from RecvMsg
		}
	})
}

func (e *exchange) send(calls ...*semav1.Call) error {
	if len(calls) == 0 {
		return nil
	}
	data, err := proto.Marshal(&semav1.ExchangeRequest{Calls: calls})
	if err != nil {
		return err
	}
	select {
	case e.sending <- struct{}{}:
		defer func() { <-e.sending }()
	case <-e.Context().Done():
		return e.Context().Err()
	}
	e.mu.Lock()
	over := e.over
	e.mu.Unlock()
	if over {
		return nil // a call that was late; nobody answers it
	}
	return e.ClientStream.SendMsg(transport.Encoded(data))
}

// CloseSend implements [grpc.ClientStream].
func (e *exchange) CloseSend() error {
	e.sending <- struct{}{}
	defer func() { <-e.sending }()
	e.mu.Lock()
	e.over = true
	e.mu.Unlock()
	return e.ClientStream.CloseSend()
}

// RecvMsg implements [grpc.ClientStream].
func (e *exchange) RecvMsg(m any) error {
	if err := e.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	var all semav1.ExchangeResponse
	if err := proto.Unmarshal(*m.(*transport.Undecoded), &all); err != nil {
		return fmt.Errorf("testcluster: what the node sends cannot be read: %w", err)
	}
	cut := false
	for _, a := range all.GetAnswers() {
		if a.GetWait() != nil && a.GetWait().GetInfo() == nil {
			continue // a place in line
		}
		e.mu.Lock()
		call := e.open[a.GetId()]
		delete(e.open, a.GetId())
		e.mu.Unlock()
		if call == nil || a.GetError() != nil {
			continue
		}
		if late, yes := e.duplicates(a); yes {
			e.calls.later(e.Context(), late, func(ctx context.Context) { e.again(ctx, call) })
		}
		if decidedBy(call, a) {
			_, yes := e.calls.strikes(cutAnswer)
			cut = cut || yes
		}
	}
	if cut {
		e.calls.reset()
		return errAnswerLost
	}
	return nil
}

// duplicates reports whether a copy of a call is to arrive, and how late.
func (e *exchange) duplicates(a *semav1.Answer) (late time.Duration, yes bool) {
	if wait := a.GetWait(); wait != nil && wait.GetInfo().GetStatus() != semav1.Status(sema.Acquired) || a.GetAcquire() != nil && refused(a.GetAcquire()) {
		return 0, false
	}
	return e.calls.strikes(duplicateCall)
}

// decidedBy reports whether an answer says that the call has changed something.
func decidedBy(call *semav1.Call, a *semav1.Answer) bool {
	return call.GetAcquire() != nil || call.GetTouch() != nil || call.GetRelease() != nil || a.GetWait().GetInfo().GetStatus() == semav1.Status(sema.Acquired)
}

// again carries out a copy of a call, as one of its own. Nobody waits for it.
func (e *exchange) again(ctx context.Context, call *semav1.Call) {
	ctx = context.WithValue(ctx, copyKey{}, true)
	switch r := call.GetRequest().(type) {
	case *semav1.Call_Acquire:
		_, _ = e.client.Acquire(ctx, r.Acquire)
	case *semav1.Call_Touch:
		_, _ = e.client.Touch(ctx, r.Touch)
	case *semav1.Call_Release:
		_, _ = e.client.Release(ctx, r.Release)
	case *semav1.Call_Get:
		_, _ = e.client.Get(ctx, r.Get)
	case *semav1.Call_Wait:
		stream, err := e.client.Wait(ctx, r.Wait)
		for err == nil { // until it ends, with ctx at the latest
			_, err = stream.Recv()
		}
	}
}

// copyKey marks the context of a copy, to which nothing happens any more.
type copyKey struct{}
