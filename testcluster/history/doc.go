// Package history says whether a lock service kept its promises, going by what its
// clients saw.
//
// A [Recorder] writes down each call of each client, when it began, when it ended and
// what was answered, and what the holders of lock handles believed. From the disks of
// the nodes comes the [Journal], the committed log; without one, verdicts that need
// it are left out, and the report says so. [Check] judges the [History] by all
// verdicts and returns a [Report] for people to read.
//
// The package is pure: it knows no cluster and no network, and the same history has the
// same report. It is meant for histories that were made while faults were injected: calls
// without an answer are the rule, and nobody is accused because of them.
//
// # Verdicts
//
//	enough                    so many calls were answered that the run counts
//	genuine                   every hold that an answer shows was asked for before
//	tokens rise               tokens are unique, and later ones are higher, over all names
//	exclusion                 no two clients believe at once that they hold one semaphore
//	nothing lost              an acknowledged hold stands until it can be overdue or somebody releases it
//	told in time              who loses a hold is told by its deadline, and before the next one has it
//	first come, first served  who begins to wait after another was told its place comes after it
//	linearizable              one order of all calls about a semaphore explains all answers
//	by the log                no hold is good for longer than asked, ends early or stays too long; nobody
//	                          vanishes from a line; whoever released is not told that it held nothing
//
// Where there is doubt, nobody is accused. Moments that carry numbers, as a Recorder's do,
// are in the order of their numbers. In virtual time many moments share one instant; without
// numbers they may have come in either order: calls of which one ends when the other begins are
// concurrent, and beliefs that only touch do not overlap.
//
// # The model
//
// A semaphore's state is the token of the hold that stands, 0 for none, and the highest token
// granted so far. At some moment between its beginning and its end each call takes
// effect:
//
//	answer                                   needs                        does
//	acquire, wait: ACQUIRED T                held = 0, T > highest        held = highest = T
//	acquire: OWNED_BY_SOMEONE_ELSE T         held = T (1)
//	acquire: RELEASED_IN_THE_MEAN_TIME       held = 0
//	acquire: FORCED_RELEASED T               held = T, T can be overdue   held = 0
//	touch T: done                            held = T
//	touch T: not held                        held is not T
//	release T: done                          none                         if held = T: held = 0 (2)
//	release T: not held                      held is not T (3)
//	get: T                                   held = T
//	get: not found                           held = 0
//	stale get: T                             highest is T or above
//	forced release T: done                   none                         if held = T: held = 0 (2)
//	forced release T: not held               held is not T
//	forced release T: not found              held = 0
//	end of T, which no client sees           T may end                    if held = T: held = 0
//
// (1) With [Limits.SpuriousRefusals]: highest is T or above.
// (2) It may be a try again whose first try had the effect.
// (3) The contract says more: that somebody else holds. It may be one whose acquire
// has an unknown outcome and whom nobody else ever saw, so nothing is made of it.
//
// A hold can be overdue from the latest of these on: when its acquire began, or a touch
// that was answered, plus the timeout, less [sema.DriftMargin]; and the last deadline of
// a handle. It may end from then on, or once somebody began to release it, unless
// that certainly failed, or once a handle was done with it. A hold that its client was
// never told of may be taken back at any time.
//
// A call without an answer, or whose outcome is unknown, may take effect at any
// time after it began. If it is an acquire, its owner tells: a hold that anybody saw with
// that owner, or that the journal has, was granted to it; an acquire that nobody saw a hold of is left
// out. A call with an answer has no effect after its end; if its owner had a
// hold that it was not told of, that was over by then. A semaphore that goes
// from one holder to the next in one entry of the log may still be called free in between:
// clients cannot tell.
//
// # How it is decided
//
// Tokens rise, so the order of a semaphore's holds is known, and all that is to be found is when
// each was granted and when it ended. An answer changes nothing that is not a grant or an
// end; so it fits if and only if, during the call, the hold that it shows stood, or that it denies
// did not. An answer "T stands" says that T was granted before the call ended and ended after the
// call began. That, and the rest of the model, gives every grant and every end an
// earliest and a latest place, and each bounds those before and after it. If any is
// left with no place, there is no order.
//
// An answer "free", or "T does not stand", says that a hold ended before the call ended and the
// next was granted after the call began. If each of these can be true by itself, all can be true
// together: let every hold end as early as it can, let each such answer fall into the last gap
// that opens before its call ends, and let the hold after that gap be granted no sooner than the call
// begins. That one ends later than the call, or the gap would not be the last; so it can wait.
//
// So the decision is exact, needs no search and costs O(n log n). The tests hold it against
// the same model given to porcupine (github.com/anishathalye/porcupine), which searches, and takes for
// ever with more than a few calls. Porcupine also draws what is not linearizable, see [Limits.Drawings]: its
// search for how far the calls can be put in order is bounded, by steps, and decides nothing.
package history
