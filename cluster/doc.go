// Package cluster runs one node of a Sema cluster inside this process: Raft, the
// state machine, the proposer, cluster time and expiry. The binary semanode is a
// thin shell around it, and a Go program may embed it instead: there are no
// globals, no flags and no signal handling, the logger is passed in, and several
// nodes can live in one process.
//
//	node, err := cluster.Open(ctx, cluster.Config{
//		ID:       "n1",
//		DataDir:  "/var/lib/semanode",
//		RaftAddr: "10.0.0.1:7373",
//		GRPCAddr: "10.0.0.1:7362",
//		Peers:    peers, // the same list on every node
//	})
//	if err != nil {
//		return err
//	}
//	defer node.Close()
//
// The caller's duties: give every node its own directory on a disk that keeps
// what it has synced, watch [Node.Done] (a node ends itself when its disk fails
// or stalls, so that another can lead; [Node.Err] tells why), and Close.
//
// # How a command travels
//
// A call on the leader becomes a command in a bounded queue. The proposer takes
// all that waits, stamps it with cluster time and the term, and proposes it as
// one log entry; what comes meanwhile travels in the next, which waits for the one before
// unless both are small, and a moment for those whom that one has answered. Once a majority has
// the entry on disk, the state machine decides each command and the callers get
// its answers. Only a refusal, "somebody else holds it", may skip the log.
//
// A call that waits in line is such a command, and then waits for another: the one
// that grants to it. What the leader knows beside the log is only who is still
// there to be told.
//
// # Goroutines
//
// Beside raft's own, gRPC's and the one of the log that makes segments, a node has
// these; [Node.Close] waits for all.
//
//	serve          answers clients, peers, guests: one each     ends when its server is stopped
//	enter          becomes a member, asks if it still is    asks the others; ticks
//	lead           takes and leaves office                  fed by raft's LeaderCh
//	watchLeader    who leads, for health and for waiters    fed by raft's observer
//	askLeader      where clients reach it, what it has      fed by watchLeader; ticks
//	watchMachine   ends the node if the state machine fails fed by fsm.Machine.Failed
//	watchPeers     tells which nodes cease to answer        fed by raft's observer
//	watchSize      how large the log is; with metrics only  ticks
//	access.Control reads the access file now and then       ends when the servers have ended
//	supervise      carries out the end                      fed by Close, Kill and faults
//	intake         requests for raft's main loop            ends with the transport
//	parallelLog    writes what a leader has taken           fed by raft; ends before the disk closes
//
// and while it leads:
//
//	serveTerm      one term of office                       ends with leadership
//	forward        a follower's acknowledgements, held back ends with raft's pipeline; one each
//	propose        the proposer                             fed by the office's queue
//	land           answers entries, in order                fed by the proposer
//	watchDeadlines the heaps of deadlines, the sweep        ticks, and the next deadline
//	watchLines     who in line is gone, who stands where    ticks
//	promote        gives members a vote that have caught up ticks
//	survey         which entries all members know           ticks until all know those of this build
//	census         counts the overdue; with metrics only    ticks
//
// A goroutine waits for each of raft's futures. Raft leaves futures without an
// answer that it held when it was stopped; such a goroutine outlives its node, and
// holds nothing but the future.
//
// # Costs
//
// With n semaphores held: a command costs O(log n) and a share of one log entry
// (one fsync here, one on a majority); a refusal from memory O(1) and no entry; taking
// office O(n) beside serving, to make the heap of deadlines; the heap takes about
// 100 bytes a hold, on the leader only. A hand-over costs the same however long the
// line is. A call that waits takes a stream's memory, some 16 kB, at the leader and at
// the node that passed it on; telling places costs a walk through the line, once a
// second, where somebody asked.
package cluster
