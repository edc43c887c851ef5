// Package fsm is Sema's replicated state machine: what every node computes from
// the same log, entry by entry, with the same result.
//
// # Determinism
//
// [Machine.Apply] reads no clock, draws no random numbers, does no I/O and never
// lets the order of a map show. The same entries from the same snapshot give the
// same state, the same answers and the same snapshot bytes on every node.
//
// # Time
//
// The machine's clock is cluster time: nanoseconds that the leader counts and
// stamps on every batch. clock = max(clock, stamp), and only if the batch was
// stamped in the Raft term in which its entry was appended: the stamp of a leader
// that was deposed and elected again in between is not time that passed under
// one leader. A hold is overdue when deadline <= clock, here and everywhere.
// Wall-clock time travels beside it for people and decides nothing.
//
// # Attempts
//
// An attempt is decided once. Its outcome is remembered until its client says,
// with Attempt.LowestOpen, that it has the answer; a duplicate that comes later
// is refused. What is remembered of one client is bounded by
// sema.MaxOpenAttempts, and a client that is silent for [ClientRetention] to twice
// that, in cluster time, is forgotten. The idea is that of sessions in Ongaro's
// Raft dissertation (2014), section 6.3. A hold outlives the memory of its
// client: a retry of its attempt finds it as long as it stands.
//
// # The line
//
// An acquire with Wait that finds every permit held takes a ticket, the last place
// in the semaphore's line: first come, first served, in the order of the log.
// Whatever ends a hold (a release, an expiry, a forced release, a plain acquire
// that ends an overdue one) grants to the head of the line in the same command,
// with a timeout that begins then: a hand-over costs one entry. So nobody waits
// for what is free, and an acquire that does not wait never overtakes one that
// does.
//
// An attempt has one ticket. A retry keeps its place, whether it says Wait or not;
// once the ticket was granted, it finds the hold as any retry does. A release by
// attempt takes the ticket out of the line, wherever it stands; if it comes too
// late for that it frees the hold, and if it comes before its acquire, it decides
// that one. A ticket outlives the memory of its client, is granted in its turn, and
// the grant is remembered from then on.
//
// Whether somebody who waits still lives is not for the machine to know. A leader
// reads the tickets with [Machine.Tickets] and [Machine.Line], and cancels by
// attempt for those who are gone; client and sequence number are enough for that.
// Nor does the machine expire a hold by itself: [Deadline] tells the leader that
// somebody waits for it.
//
// A line of [MaxWaiting] is full: who comes then is refused, and not decided.
//
// # Errors
//
// A command that cannot be had (not held, not found, invalid) is an answer. An
// entry that cannot be decoded, or a command of a kind that this version does
// not know, is not: skipping it on one node would let replicas drift apart. The
// machine then stops for good, applies nothing more, and says so with
// [Machine.Failed]; the node must end.
//
// # Concurrency and cost
//
// Apply, Snapshot and Restore are called by raft, one at a time. The reading
// methods may be called from any goroutine. With n semaphores held, an acquire
// or a release costs O(log n); every other command costs O(1), and the first change
// of a semaphore or a client while a snapshot is written a copy of it more. To join a line, to be
// served and to leave it from anywhere costs O(log t) more, with t tickets in all
// lines together, however long this line is. A ticket takes some 220 bytes, its
// client another 130 if nothing else was known of it; it is never changed, so a
// snapshot shares it for good. A snapshot stops Apply for O(1) and is then written
// beside it, a hundred records at a time, between which Apply goes on; it must be
// persisted or released. A page of a list or of tickets costs O(log + page), and a
// page of a line what it holds.
package fsm
