// Package transport is the wire between clients and nodes, and between nodes.
//
//   - [Backend] is what a node does, with the tokens and attempts that the wire
//     carries. [Server] serves any Backend over gRPC (package semav1, protobuf
//     package sema.v1), with the gRPC health service and reflection.
//   - A Backend that does not lead answers with [sema.NotLeaderError]; the server
//     then passes the call on to the leader: one hop, the same deadline, marked
//     so that it is never passed on again. Without a leader the call waits for one.
//   - [Backend.Wait] lasts for as long as the caller waits in line, and travels as a
//     stream. It goes back to its client when the leader that it waits at is
//     replaced.
//   - [Stream] carries the calls of many goroutines to a node in one gRPC stream, the
//     method Exchange: what is waiting goes in one message. A Backend that is a [Starter]
//     answers them without a goroutine for each.
//   - A Backend that is a [Saver] gives away backups, in a service of their own.
//   - [Local] is a Server's service for callers in the same process.
//   - [ErrorToStatus] and [ErrorFromStatus] carry errors across, from one table.
//   - [Mux] shares a node's one raft port between raft and forwarded calls, and
//     turns away connections from other clusters and, with TLS, all that do not show a
//     node's certificate. Package tlsfiles keeps certificates in files up to date.
//
// # Wire protocol
//
// The protocol is proto/sema/v1/sema.proto, and backup.proto beside it; their comments
// are its documentation.
// Three metadata keys are part of it: "sema-forwarded" marks a call that was
// passed on; "sema-leader" in an answer's header is the leader's address, sent
// by nodes that passed the call on; "sema-node" is the id of the node that
// answered. A message is at most 1 MiB.
package transport
