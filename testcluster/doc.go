// Package testcluster starts whole clusters inside a test, and breaks them on
// purpose: to see whether your critical section survives, and how Sema proves
// itself.
//
// A cluster here is the real thing: nodes of package cluster with real consensus,
// the real client, and gRPC between them. What is not real is what they run on:
// a network in memory ([Cluster.Partition], delays, losses), disks in memory that
// lose at a power cut what was not synced, or files ([Options.OnDisk]), clocks that
// drift. In a bubble of [testing/synctest] time is virtual too: an hour of leases,
// elections and partitions takes a second or two.
//
// # Your critical section
//
// [Exercise] runs it from several workers while holders are stalled, answers are lost,
// holds run out and leaders die, and fails the test if two were at work at once, if
// one worked on after its context was cancelled, or if a write was accepted with an old
// token. It tells what led there in plain words. See the examples: the section that
// uses neither context nor token, and the one that does it right.
//
// # A cluster with verbs
//
// [Run] gives a test a cluster in virtual time, and [New] one in whatever time the
// test has. Machines are called n1, n2 and so on, and those of clients c1, c2 and so on.
//
//	c.Leader(), c.Follower(), c.Client(), c.ClientOf("n2")
//	c.Partition([]string{"n1"}, []string{"n2", "n3"}), c.Isolate("n1"), c.Silence("n1", "n2"), c.Heal()
//	c.Kill("n1"), c.CutPower("n1"), c.Stop("n1"), c.Start("n1"), c.Restart("n1")
//	c.LoseDisk("n1"), after which c.Start("n1") removes the node and takes it in again
//	c.Pause("n1"), c.Resume("n1")
//	c.Eventually("a name", func() error { ... })
//
// The test's goroutines must not wait for anything outside of the bubble: no sockets
// of the operating system, no subprocesses. Wait with [time.After] and the like.
//
// # Faults, schedules, verdicts
//
// A [Fault] is a value: its name, whether it applies now, how to inject and undo it,
// and the proof that it did something. [Faults] lists them. A [Schedule] of faults is
// drawn from a seed, printed, and carried out again when it is given. Not all is decided
// by the seed: raft's timers and the order in which goroutines run are left to chance,
// so a failure may need some runs to come back.
//
// [Chaos] lets clients work while a schedule is carried out, records every call, heals
// everything and judges: see package history for the verdicts. A run counts
// only if enough was answered.
//
// # A paused machine
//
// Goroutines cannot be stopped from outside. On a paused machine they stop when they
// next touch the outside: network, disk, clock or log. What they compute
// meanwhile nobody sees. That is SIGSTOP, but for two things: timers that would ring
// together when the process goes on have rung before, and the code of a test,
// which runs on no machine, is not stopped.
//
// # Your own Service
//
// [TestService] holds an implementation of sema.Service, such as a fake, to the
// contract.
package testcluster
