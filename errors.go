package sema

import (
	"errors"
	"fmt"
	"time"
)

// The errors of the contract. They cross the wire whole: a client's error
// matches the same value with errors.Is as the node's did.
var (
	// ErrInvalid: an argument is outside its limits; see [InvalidError].
	ErrInvalid = errors.New("sema: invalid argument")
	// ErrNotHeld: the hold is not, or no longer, the caller's.
	ErrNotHeld = errors.New("sema: not held")
	// ErrNotFound: nobody holds the semaphore.
	ErrNotFound = errors.New("sema: not found")
	// ErrHeld: somebody else holds the semaphore, and the caller would not wait,
	// or not any longer. See [HeldError].
	ErrHeld = errors.New("sema: held by somebody else")
	// ErrLost is the cause with which a work's context is cancelled when its
	// hold is gone, or can no longer be known to stand.
	ErrLost = errors.New("sema: hold lost")
	// ErrNotLeader: this node does not lead; nothing was changed; ask the
	// leader. See [NotLeaderError].
	ErrNotLeader = errors.New("sema: not the leader")
	// ErrNoLeader: no leader was found before the context ended. Nothing was
	// changed.
	ErrNoLeader = errors.New("sema: no leader found")
	// ErrOverloaded: the leader's queue is full. Nothing was changed. Try
	// again later.
	ErrOverloaded = errors.New("sema: overloaded, try again later")
	// ErrOutcomeUnknown: the request was sent and its answer was lost. It may
	// or may not have taken effect, and may still do so.
	ErrOutcomeUnknown = errors.New("sema: outcome unknown")
	// ErrAttemptFinished: a duplicate of an attempt that had its answer
	// already. Nothing was changed by this duplicate.
	ErrAttemptFinished = errors.New("sema: attempt already finished")
	// ErrClosed: the client or node was closed. Nothing was changed.
	ErrClosed = errors.New("sema: closed")
	// ErrUpgrading: some node of the cluster is of a version that does not know what was
	// asked for. Nothing was changed. Upgrade all nodes.
	ErrUpgrading = errors.New("sema: not all nodes know this yet, upgrade them")
	// ErrMembership: the cluster's members cannot be changed like that, or this node is
	// none of them. Nothing was changed.
	ErrMembership = errors.New("sema: membership")
	// ErrDenied: whoever asks may not do that. Nothing was changed, nor looked at. See
	// [DeniedError].
	ErrDenied = errors.New("sema: permission denied")
	// ErrUnauthenticated: the node does not know who asks. Nothing was changed.
	ErrUnauthenticated = errors.New("sema: not identified: show a token or a client certificate that the node knows")
	// ErrLimit: a limit of whoever asks, or of the cluster, was reached. Nothing was
	// changed. See [LimitError].
	ErrLimit = errors.New("sema: limit reached")
)

// InvalidError tells which argument was refused and why. It matches
// [ErrInvalid].
type InvalidError struct {
	Field string // such as "name"
	Value string // as given, shortened if it is long
	Limit string // what would have been accepted
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("invalid %s %q: want %s", e.Field, e.Value, e.Limit)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// HeldError tells who had the semaphore when it was last looked at. It matches
// [ErrHeld] and, if a wait ended, what ended it, such as
// context.DeadlineExceeded.
type HeldError struct {
	Info  Info  // of the hold that was in the way
	Cause error // what ended the wait; nil if there was none
}

func (e *HeldError) Error() string {
	text := fmt.Sprintf("%q is held by %s", e.Info.Name, orUnknown(e.Info.Owner))
	if !e.Info.CreatedAt.IsZero() {
		text += " since " + clock(e.Info.CreatedAt)
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Unwrap returns the cause.
func (e *HeldError) Unwrap() error { return e.Cause }

// DeniedError tells which right is missing. It is the same whether the semaphore is held,
// free or was never heard of. It matches [ErrDenied].
type DeniedError struct {
	Identity string // who asks, as the node knows it
	Right    string // such as "acquire"
	Name     string // on what, as given; empty if the right is not one on names
}

func (e *DeniedError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("permission denied: identity %s lacks the right %q", orUnknown(e.Identity), e.Right)
	}
	name := e.Name
	if len(name) > MaxNameBytes {
		name = name[:MaxNameBytes] + "..."
	}
	return fmt.Sprintf("permission denied: identity %s lacks the right %q on %q", orUnknown(e.Identity), e.Right, name)
}

// Is makes errors.Is(err, ErrDenied) true.
func (e *DeniedError) Is(target error) bool { return target == ErrDenied }

// LimitError tells which limit was reached. It matches [ErrLimit].
type LimitError struct {
	Of         string        // such as "holds of identity billing"
	Most       uint64        // what it allows
	RetryAfter time.Duration // when it may be worth asking again; 0 if that is not known
}

func (e *LimitError) Error() string {
	text := fmt.Sprintf("limit reached: at most %d %s", e.Most, e.Of)
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(": try again in %v", e.RetryAfter)
	}
	return text
}

// Is makes errors.Is(err, ErrLimit) true.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// Leader says where a cluster's leader is. Fields that are not known are empty.
type Leader struct {
	ID       string // node id
	RaftAddr string // where nodes reach it
	GRPCAddr string // where clients reach it
}

// NotLeaderError is the answer of a node that does not lead. It matches
// [ErrNotLeader].
type NotLeaderError struct {
	// Leader is the leader as this node knows it, zero if it knows none.
	Leader Leader
}

func (e *NotLeaderError) Error() string {
	if e.Leader.ID == "" {
		return "not the leader, and no leader is known: try again shortly"
	}
	return fmt.Sprintf("not the leader: ask node %s (grpc %s)", e.Leader.ID, orUnknown(e.Leader.GRPCAddr))
}

// Is makes errors.Is(err, ErrNotLeader) true.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// OutcomeUnknownError is a request whose answer was lost. It matches
// [ErrOutcomeUnknown] and whatever ended the wait, such as
// context.DeadlineExceeded.
type OutcomeUnknownError struct {
	Cause error
}

func (e *OutcomeUnknownError) Error() string {
	return fmt.Sprintf("outcome unknown, it may have taken effect: %v", e.Cause)
}

// Is makes errors.Is(err, ErrOutcomeUnknown) true.
func (e *OutcomeUnknownError) Is(target error) bool { return target == ErrOutcomeUnknown }

// Unwrap returns the cause.
func (e *OutcomeUnknownError) Unwrap() error { return e.Cause }

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
