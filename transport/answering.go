package transport

import (
	"runtime"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// The writing half of exchange.go.

// send tells the client what was answered, until it is told all that it has asked and
// asks no more.
func (ex *exchange) send(stream grpc.ServerStream) error {
	stopping := ex.h.stopping.Done()
	var message []byte
	var batch, spare []*exchanged
	for {
		select {
		case <-ex.wake:
		case <-stopping:
			stopping = nil
			message = appendBool(message, drainingField, true)
		case <-ex.ctx.Done():
			return status.FromContextError(ex.ctx.Err()).Err()
		}
		runtime.Gosched() // whoever is about to answer goes first, and travels along
		var over bool
		message, batch, over = ex.take(message, spare[:0])
		ex.h.calls.answered(batch)
		endTraces(batch)
		for _, x := range batch {
			message = appendAnswer(message, x.id, &x.Call)
			if len(message) >= fullMessage {
				if err := stream.SendMsg(Encoded(message)); err != nil {
					return err
				}
				message = message[:0]
			}
		}
		if len(message) > 0 {
			if err := stream.SendMsg(Encoded(message)); err != nil {
				return err
			}
			message = message[:0]
		}
		if len(batch) > 0 {
			ex.taken()
			clear(batch)
		}
		spare = batch
		if over {
			return nil
		}
	}
}

// take takes what is to be sent: answers, and places, which it writes down at once.
// over is true if nothing can follow.
func (ex *exchange) take(message []byte, spare []*exchanged) (_ []byte, batch []*exchanged, over bool) {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	left := 0
	for i, x := range ex.placed {
		if len(message) >= fullMessage {
			left = copy(ex.placed, ex.placed[i:])
			signal(ex.wake)
			break
		}
		x.untold = false
		if !x.gone && ex.open[x.id] == x {
			message = appendPlace(message, x.id, x.place, x.Name)
		}
	}
	clear(ex.placed[left:])
	ex.placed = ex.placed[:left]
	batch, ex.ready = ex.ready, spare
	ex.sending = len(batch)
	signal(ex.room)
	return message, batch, ex.ended && len(ex.open) == 0 && left == 0
}

// taken notes that gRPC has taken the answers that were to be sent.
func (ex *exchange) taken() {
	ex.mu.Lock()
	defer ex.mu.Unlock()
	ex.sending = 0
	signal(ex.room)
}
