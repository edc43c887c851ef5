// Package fence is the check at the resource: it refuses a write whose fencing
// token is lower than the highest one seen.
//
// A holder that is stopped (by its garbage collector, by SIGSTOP, by a suspended
// machine, by a network that keeps a request back) may write after its hold has
// passed to somebody else, and no lock service can prevent it. The resource can:
// tokens ([sema.Info.Token]) only rise, so a lower one is a holder of the past.
// The idea is Lampson's, as the sequencers of Chubby (Mike Burrows, "The Chubby
// lock service for loosely-coupled distributed systems", 2006, section 2.4); the
// name fencing token and the case for it are from Martin Kleppmann, "How to do
// distributed locking" (2016).
//
// # Checked means checked with the write
//
// A token that is compared first and written under later protects nothing: the
// newer holder may write in between. The two must be one step, and there are two
// places where they can be:
//
//   - In the process, if one process is the only way to the resource: [Gate].
//     It lets a higher token wait until the handlers of lower ones have returned.
//   - In the database, if several processes write to it: [Require] reads the
//     token from the request, and the handler takes it from [FromContext] into
//     a guarded statement, or into its transaction with [Advance].
//
// # What it does not do
//
// A token is an order and no proof of identity: whoever may send one may send a
// very high one, and lock all others out of the resource. Authenticate first.
// All writers of one resource must hold the same semaphore of the same cluster;
// tokens of different clusters have nothing to do with each other.
//
// docs/fencing.md has the recipes with their reasons and the usual mistakes.
package fence
