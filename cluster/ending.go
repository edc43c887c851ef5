package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
)

// ending is how a node ends.
type ending int

const (
	closed  ending = iota // by Close: hands over, waits for everything
	killed                // by Kill: at once, as if the process had died
	faulted               // by itself: at once, with a cause
)

const (
	// drainTimeout is how long Close waits for calls under way.
	drainTimeout = 5 * time.Second
	// faultPatience is how long a faulted node waits for a disk that may never
	// answer before it calls itself done.
	faultPatience = 2 * time.Second
)

// Close ends the node: it hands leadership over, finishes the calls under way,
// stops everything and waits. It is idempotent; every call returns what the
// ending ran into.
func (n *Node) Close() error {
	n.end(closed, nil)
	<-n.done
	return n.closeErr
}

// Kill ends the node at once, as if its process had died: nothing is handed
// over, connections break, calls under way have no answer. It is for tests and
// demonstrations. What was acknowledged is on disk.
func (n *Node) Kill() {
	n.end(killed, nil)
	<-n.done
}

// Done is closed when the node has ended: by Close, by Kill or by a fault.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns the fault that ended the node: a disk that failed or stalled, a
// log entry that cannot be applied. It is nil while the node runs and after
// Close.
func (n *Node) Err() error {
	select {
	case <-n.ending:
		return n.cause
	default:
		return nil
	}
}

// endError is why a call on an ended node fails.
func (n *Node) endError() error {
	if err := n.Err(); err != nil {
		return err
	}
	return sema.ErrClosed
}

// fail ends the node with a cause. It does not wait, so anyone may call it.
func (n *Node) fail(err error) { n.end(faulted, err) }

func (n *Node) end(how ending, cause error) {
	n.endOnce.Do(func() {
		n.how, n.cause = how, cause
		if cause != nil {
			n.log.Error("ending", "cause", cause)
		}
		close(n.ending)
	})
}

// supervise waits for the end to begin and carries it out.
func (n *Node) supervise() {
	defer close(n.done)
	<-n.ending
	if n.how != faulted {
		n.closeErr = n.shutdown()
		return
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		_ = n.shutdown() // the cause is what tells
	}()
	select {
	case <-finished:
	case <-time.After(faultPatience): // stuck in the disk, for good perhaps
	}
}

// shutdown stops everything in an order in which nobody waits for what is gone.
func (n *Node) shutdown() error {
	n.setServing(false)
	if n.how == closed {
		n.handOver()
	} else {
		close(n.aborted)
		_ = n.mux.Close() // silence the heartbeats: another node must lead
	}
	n.stopServers()
	n.cancel() // ends the term of office, which waits for its last entry
	err := n.releaseAll()
	n.wg.Wait()
	return err
}

// handOver gives leadership to another node, if this one leads and there is one.
func (n *Node) handOver() {
	if n.raft.State() != raft.Leader || len(n.raft.GetConfiguration().Configuration().Servers) < 2 {
		return
	}
	// raft gives up on a transfer after an election timeout, so this ends.
	if err := n.await(n.raft.LeadershipTransfer()); err != nil {
		n.log.Warn("leadership was not handed over; the others will elect", "error", err)
	}
}

func (n *Node) stopServers() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if n.how != closed {
		cancel()
	}
	if n.clientServer != nil {
		n.clientServer.Stop(ctx)
	}
	if n.peerServer != nil {
		n.peerServer.Stop(ctx)
	}
}

// releaseAll gives back what open acquired, as far as it came.
func (n *Node) releaseAll() error {
	var errs []error
	if n.raft != nil {
		if err := n.raft.Shutdown().Error(); err != nil {
			errs = append(errs, fmt.Errorf("raft: %w", err))
		}
	}
	if n.trans != nil {
		n.trans.CloseStreams()
		errs = append(errs, n.trans.Close())
	}
	if n.peers != nil {
		errs = append(errs, n.peers.Close())
	}
	if n.grpcLis != nil && n.clientServer == nil { // else the server has closed it
		errs = append(errs, n.grpcLis.Close())
	}
	if n.mux != nil {
		errs = append(errs, n.mux.Close())
	}
	if n.bolt != nil {
		errs = append(errs, n.bolt.Close())
	}
	return errors.Join(errs...)
}
