// Package memdisk is the disk of a simulated machine. A [Disk] is what a node
// leaves behind when it is killed; a handle, which [Disk.Open] returns, is what one
// run of a node holds of it. A test breaks the disk while the node works.
//
// # The model
//
// A write goes to volatile memory first, the page cache, where every reader sees it
// at once. A sync then makes everything that was written so far durable. Every
// operation of a handle that writes (StoreLogs, DeleteRange, Set, SetUint64, Close
// of a snapshot's sink) returns after its sync:
//
//	gate → latency of the write → write → latency of the sync → sync → return
//	       └ stall                        └ stall
//
// Operations that read, and Create and Write of a snapshot, pass the gate and the
// stall only. A cut that comes between write and sync finds the write unsynced:
// [Disk.Cut] keeps all such writes, as they are kept when a process is killed or
// when the cache happened to reach the platter, or none, as when the power fails.
// What was kept counts as durable.
//
// An operation is atomic, as a transaction of bbolt is: after a cut all of it is
// there or nothing. A snapshot is there once its sink was closed; what an unfinished
// one had written is gone with its handle.
//
// # What it does not model
//
// Torn or reordered writes (of two unsynced writes, a cut never keeps one only),
// damage, reads that fail or are slow, a capacity, and a queue: operations do not
// wait for each other, and a sync takes as long however much there is to do.
//
// # Time
//
// Handles wait on channels and timers only, with no mutex held, and keep no
// goroutine: a Disk works in the virtual time of testing/synctest as well as outside.
// In a bubble, make it inside. Without faults an operation costs a mutex and a copy.
//
// # Real disks
//
// [Disk.Wrap] puts the same faults in front of another disk. What that one has
// written is synced; there a cut ends the handle and loses nothing.
package memdisk
