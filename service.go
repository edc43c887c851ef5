package sema

import (
	"context"
	"time"
)

// Service is a lock service as one user of it sees it.
//
// A Service value remembers the tokens it was granted: Touch and Release act on
// the hold that this value acquired under that name, and on nobody else's. The
// owner is text for people and decides nothing, so the same owner acquiring
// twice is somebody else the second time: there is no re-entrance.
//
// All methods may be called from many goroutines. All of them end when ctx does.
// A call that ends without an answer says which of two things happened: errors
// that match [ErrOutcomeUnknown] may or may not have taken effect; every other
// error means that nothing was changed. That is so for a ctx that had ended before, and
// for arguments outside the limits of [Validate], which every method refuses with
// [ErrInvalid] before anything is sent.
type Service interface {
	// Acquire tries once to take the semaphore for owner and never waits for
	// it. The answer is in Info.Status, see [Status]; err is nil for all four.
	// After [ErrOutcomeUnknown] the same call may be made again and continues
	// the same attempt, or Release may be called: it undoes what was granted.
	Acquire(ctx context.Context, name, owner string, timeout time.Duration) (Info, error)

	// Touch moves the deadline of this value's hold to a full timeout from now,
	// never to an earlier moment. A hold that is overdue but that nobody has
	// taken is saved by it. It returns [ErrNotHeld] if the hold is gone.
	Touch(ctx context.Context, name string) (Info, error)

	// Release frees the semaphore. Free already is no error; held by somebody
	// else is [ErrNotHeld].
	Release(ctx context.Context, name string) error

	// Get tells who holds the semaphore, or returns [ErrNotFound] if nobody
	// does. Info.Status is Acquired if the hold is this value's own.
	Get(ctx context.Context, name string) (Info, error)
}

// Waiter is a [Service] that can wait in line, first come, first served. [Isolate]
// waits with it instead of trying again and again.
type Waiter interface {
	Service
	// AcquireWait is Acquire that waits in line while somebody else holds, until
	// ctx ends. Info.Status is Acquired if err is nil. The hold may have been
	// granted at any time since the call began: whoever counts a deadline of its
	// own touches it first if that was long ago. If ctx ends first, the place in
	// line and whatever may have been granted meanwhile are given back before
	// AcquireWait returns; only if that is impossible does the error match
	// [ErrOutcomeUnknown]: the cluster then cancels the place by itself.
	//
	// told, if not nil, is told the place in line as it changes, once a second at
	// most, by a goroutine of the call.
	AcquireWait(ctx context.Context, name, owner string, timeout time.Duration, told func(Place)) (Info, error)
}

// Place is where somebody stands in line.
type Place struct {
	Position int  // 1 is next
	Holder   Info // of the hold that stands before the line
}

// Forker is a [Service] that can give out more values like itself. [Isolate] takes
// one for each piece of work.
type Forker interface {
	// Fork returns a Service that shares everything with this one except what
	// it remembers: each acts on its own holds only, also under the same name.
	// It costs little and needs no closing.
	Fork() Service
}

// Info describes a hold: whose it is, since when and until when.
type Info struct {
	// Status is the answer of the call that returned this Info. Touch answers
	// Acquired; Get and lists answer Acquired for the caller's own holds and
	// OwnedBySomeoneElse for all others.
	Status Status
	// Name of the semaphore.
	Name string
	// Owner as given to Acquire. Text for people.
	Owner string
	// Timeout is how long the hold stays good after the acquire or a touch.
	Timeout time.Duration
	// Token is the fencing token: higher than that of every hold granted
	// before, on any semaphore of the cluster. Zero means that there is no hold.
	Token uint64
	// ExpiresAt, CreatedAt and UpdatedAt (the last touch) are wall-clock times
	// in UTC, for people. They never decide anything: deadlines are kept in
	// cluster time, which stands still while the cluster has no leader.
	ExpiresAt, CreatedAt, UpdatedAt time.Time
	// Waiting is how many wait in line for the semaphore.
	Waiting int
}

// Ticket is a place in a semaphore's line, for people to read.
type Ticket struct {
	// Position in the line: 1 is next.
	Position int
	// Owner as given to the acquire that waits.
	Owner string
	// Since when it waits: wall-clock time in UTC.
	Since time.Time
}

// Attempt names one acquire across all its retries, so that it takes effect
// once however often it is sent. It matters to those who implement a transport
// or speak the wire protocol; a [Service] makes and keeps its own.
type Attempt struct {
	// Client is a random identity (UUID, RFC 9562, or any 16 random bytes).
	// The zero value means: no attempt, every try counts for itself.
	Client ClientID
	// Seq numbers the client's attempts, starting at 1.
	Seq uint64
	// LowestOpen is the lowest Seq whose answer the client still wants.
	// Attempts below it are finished: a late duplicate of one is refused.
	LowestOpen uint64
}

// ClientID is the identity that a client gives itself.
type ClientID [16]byte

// IsZero reports whether the id is absent.
func (c ClientID) IsZero() bool { return c == ClientID{} }

// MaxOpenAttempts bounds Attempt.Seq - Attempt.LowestOpen: how far a client may
// run ahead of its oldest unanswered attempt under one ClientID. It keeps what
// the cluster remembers of one client bounded.
const MaxOpenAttempts = 1024
