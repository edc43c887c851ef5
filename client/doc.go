// Package client is a [sema.Service] over the network.
//
// A [Client] needs the address of one living node; it finds the leader from
// there, and again whenever the leader changes. Calls are tried until they are
// answered or their context ends; a context without a deadline is tried for ever.
//
// # How a call ends
//
//   - With an answer. Retries are the same attempt to the cluster, so an answer is
//     the effect of one call however often it had to be sent.
//   - With an error that matches [sema.ErrOutcomeUnknown]: the context ended, and a
//     try may have reached the cluster whose answer was lost. That a later try was
//     certainly not carried out does not make the earlier one known.
//   - With a [NoLeaderError], which matches [sema.ErrNoLeader]: the context ended and
//     nothing was changed. Calls that only read always end this way.
//   - With any other error: it was refused, and nothing was changed.
//
// # Which node is asked
//
// The node that answered last; at first, and whenever that one fails, the
// endpoints in turn. Nodes pass calls on to their leader and tell where it is, and
// the client goes there as soon as it has a connection: a leader's address that
// cannot be reached from here (another network, a container) costs nothing but
// the detour. A node that does not pass calls on names the leader in its refusal,
// and that address is asked at once. An address that could not be reached is left
// alone for ten seconds, as long as there is another.
//
// # Concurrency
//
// All methods may be called from many goroutines. Beside those of its gRPC
// connections, one connection to each node, a Client has two goroutines for each node
// that was asked, which send and receive for all others (see [Config.Unary]), one while it has
// locks, which keeps them alive, and one for each node at which calls wait in line,
// which finds out if that node hangs.
//
// # Locks
//
// [Client.Lock] waits in line and returns a [Lock] that is kept alive until it is
// unlocked. One message for all locks of the Client goes out every third of the
// shortest timeout. What happens if none gets through is the point of it: the
// Lock's Context ends before anybody else can hold, see [Lock.Context]. A place in
// line belongs to the call that waits, wherever it has to go: it is kept when a
// node or the leader fails.
package client
