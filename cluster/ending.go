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
	// raftPatience is how long raft may take to stop before its calls are ended.
	raftPatience = 200 * time.Millisecond
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
		n.endMu.Lock()
		defer n.endMu.Unlock()
		return n.cause
	default:
		return nil
	}
}

// endError is why a call on an ended node fails.
func (n *Node) endError() error {
	if err := n.Err(); err != nil {
		return fmt.Errorf("%w: %w", sema.ErrClosed, err)
	}
	return sema.ErrClosed
}

// fail ends the node with a cause. It does not wait, so anyone may call it. A
// fault that comes while the node is ending anyway makes that end abrupt.
func (n *Node) fail(err error) { n.end(faulted, err) }

func (n *Node) end(how ending, cause error) {
	if n.blame(cause) {
		n.log.Error("ending", "cause", cause)
	}
	if how != closed {
		n.abrupt.Do(func() { close(n.hurry) })
	}
	n.begin.Do(func() { close(n.ending) })
}

// blame keeps the first cause and reports whether this is it. What waits for the log
// waits outside, so that Err always answers.
func (n *Node) blame(cause error) bool {
	n.endMu.Lock()
	defer n.endMu.Unlock()
	if cause == nil || n.cause != nil {
		return false
	}
	n.cause = cause
	return true
}

// supervise waits for the end to begin and carries it out. An end that is abrupt,
// or becomes so, does not wait for a disk that may never answer.
func (n *Node) supervise() {
	defer close(n.done)
	<-n.ending
	finished := make(chan error, 1)
	go func() { finished <- n.shutdown() }()
	select {
	case n.closeErr = <-finished:
		return
	case <-n.hurry:
	}
	n.abort()
	select {
	case n.closeErr = <-finished:
	case <-time.After(faultPatience):
		n.closeErr = errors.New("the node did not stop: its disk does not answer")
	}
}

// abort stops waiting for raft, and silences the node so that another leads.
func (n *Node) abort() {
	n.abortOnce.Do(func() { close(n.aborted) })
	_ = n.trans.Close() // raft does not take the end of its port for a fault
	_ = n.mux.Close()   // what matters is that the connections are gone
}

// shutdown stops everything in an order in which nobody waits for what is gone.
func (n *Node) shutdown() error {
	n.setServing(false)
	select {
	case <-n.hurry:
		n.abort()
	default:
		n.handOver()
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
	if err := n.await(context.Background(), n.raft.LeadershipTransfer()); err != nil {
		n.log.Warn("leadership was not handed over; the others will elect", "error", err)
	}
}

// stopServers lets the calls under way finish, for a while.
func (n *Node) stopServers() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-n.hurry:
			cancel()
		case <-ctx.Done():
		}
	}()
	n.local.Stop()
	if n.clientServer != nil {
		n.clientServer.Stop(ctx)
	}
	if n.peerServer != nil {
		n.peerServer.Stop(ctx)
	}
	if n.doorServer != nil {
		n.doorServer.Stop()
	}
}

// stopRaft stops raft and waits. It waits itself for all its goroutines: those that
// wait in a pipeline, and those that call a node which does not answer.
func (n *Node) stopRaft() error {
	stopping := n.raft.Shutdown()
	n.trans.closePipelines()
	stopped := make(chan error, 1)
	go func() { stopped <- stopping.Error() }()
	select {
	case err := <-stopped:
		return err
	case <-time.After(raftPatience):
		_ = n.mux.Close() // ends the calls; what matters is that they end
		return <-stopped
	}
}

// releaseAll gives back what open acquired, as far as it came.
func (n *Node) releaseAll() error {
	var errs []error
	n.unregister()
	if n.raft != nil {
		if err := n.stopRaft(); err != nil {
			errs = append(errs, fmt.Errorf("raft: %w", err))
		}
		n.abortOnce.Do(func() { close(n.aborted) }) // it answers no more
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
	if n.ownLog != nil {
		n.ownLog.close()
	}
	if n.disk != nil {
		errs = append(errs, n.disk.Close())
	}
	n.closeAccess()
	return errors.Join(errs...)
}
