// Package sema is the contract of Sema, a lock service: named semaphores that
// live in a cluster of three or more nodes, kept by consensus.
//
// The package holds the domain and no machinery: [Service] is what a lock
// service does, [Info] and [Status] are what it answers, the Err values are how
// it refuses, and [Isolate] runs a piece of work while holding a semaphore.
// It imports the standard library only, so code that takes locks needs nothing
// else; who provides the service is decided at the edge of the program:
//
//   - package client talks to a cluster over the network,
//   - package cluster runs a node inside this process; the node is a Service too,
//     and has a client that needs no network.
//
// Both can wait in line ([Waiter]), and package client has locks that are kept alive.
// Package fence is the check at the resource.
//
// # Words
//
// A semaphore is a name with a number of permits (one: a mutex). A hold is one
// owner's permits on it, good for a timeout from the acquire or the last touch,
// under a fencing token: a number that only ever rises over the whole cluster.
// A hold whose deadline has passed and that nobody has taken yet is overdue: its
// owner may still touch it back to life, and the next acquirer may end it.
//
// # What a hold is worth
//
// While a process holds a semaphore and is alive to watch its own clock, nobody
// else holds it. A process that was stopped (a long pause, a suspended machine)
// cannot watch anything, and is told only when it asks its context again; what protects the resource from its late writes is the
// token: send [Info.Token] with every write and let the resource refuse a token
// lower than the highest it has seen. See Martin Kleppmann, "How to do
// distributed locking" (2016), for why no lock service can do without.
package sema
