package transport

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
)

// Backend is what a node does for its users, as the wire carries it: callers
// show tokens instead of being remembered. Its methods may be called from many
// goroutines and end when ctx does. A Backend that does not lead returns
// [sema.NotLeaderError] without having changed anything.
type Backend interface {
	Acquire(ctx context.Context, req AcquireRequest) (sema.Info, error)
	// Wait acquires and, while somebody else holds, waits in line. told, unless
	// nil, is told the place in line when it is taken and, with Positions, as it
	// changes, by the goroutine that called. When ctx ends first, the place is kept for a while, so that the
	// same attempt finds it again; Release by attempt gives it up at once. Until
	// then the outcome is unknown, and the error says so.
	Wait(ctx context.Context, req AcquireRequest, told func(sema.Place)) (sema.Info, error)
	Touch(ctx context.Context, req TouchRequest) (sema.Info, error)
	// TouchAll is Touch for many holds. It answers for each, in order; an error
	// means that none was touched, or that none is known to be.
	TouchAll(ctx context.Context, req TouchAllRequest) ([]TouchOutcome, error)
	// Release reports whether it freed the hold; false and no error means that
	// the semaphore was free already.
	Release(ctx context.Context, req ReleaseRequest) (released bool, err error)
	// ForceRelease ends a hold whoever it belongs to and returns it.
	ForceRelease(ctx context.Context, req ForceReleaseRequest) (sema.Info, error)
	Get(ctx context.Context, req GetRequest) (GetResult, error)
	List(ctx context.Context, req ListRequest) (ListResult, error)
	// Status never needs a leader.
	Status(ctx context.Context, req StatusRequest) (ClusterStatus, error)
}

// AcquireRequest asks for a semaphore, once.
type AcquireRequest struct {
	Name    string
	Owner   string
	Timeout time.Duration
	Attempt sema.Attempt
	// Retry is true if the request was sent before and its answer was lost.
	// It must then be decided by the log, never by a leader's memory.
	Retry bool
	// Positions asks Wait to tell the place in line as it changes, and not only
	// when it is taken. It costs the leader a look at the line every second.
	Positions bool
	// Account, unless nil, is on whose account it counts, and within which limits: beyond
	// them the error is a [sema.LimitError].
	Account *Account
}

// Validate reports every fault of the request, joined.
func (r AcquireRequest) Validate() error {
	return errors.Join(sema.Validate(r.Name, r.Owner, r.Timeout), validateAttempt(r.Attempt))
}

// ValidateWait reports every fault of the request as one that waits, joined.
func (r AcquireRequest) ValidateWait() error {
	var attempt error
	if r.Attempt.Client.IsZero() || r.Attempt.Seq == 0 {
		attempt = &sema.InvalidError{Field: "attempt", Value: "", Limit: "a client and a seq, by which the place in line is found again"}
	}
	return errors.Join(r.Validate(), attempt)
}

// TouchRequest moves the deadline of the hold with this token.
type TouchRequest struct {
	Name    string
	Token   uint64
	Attempt sema.Attempt // Client and LowestOpen only
	Account *Account     // see [ReleaseRequest]
}

// Validate reports every fault of the request, joined.
func (r TouchRequest) Validate() error { return sema.ValidateName(r.Name) }

// MaxTouches bounds a [TouchAllRequest].
const MaxTouches = 50_000

// TouchAllRequest moves the deadlines of many holds.
type TouchAllRequest struct {
	Holds   []HoldID
	Attempt sema.Attempt // Client and LowestOpen only
	Account *Account     // see [ReleaseRequest]
}

// HoldID names a hold.
type HoldID struct {
	Name  string
	Token uint64
}

// Validate reports the first fault among the holds, and all others.
func (r TouchAllRequest) Validate() error {
	if n := len(r.Holds); n > MaxTouches {
		return tooManyTouches(n)
	}
	for _, h := range r.Holds {
		if err := sema.ValidateName(h.Name); err != nil {
			return err
		}
	}
	return validateAttempt(r.Attempt)
}

func tooManyTouches(n int) error { return invalidInt("holds", n, "at most 50000") }

// TouchOutcome is what became of one touch of many.
type TouchOutcome struct {
	ExpiresAt time.Time // wall clock, for people
	Err       error     // nil if the hold was touched
}

// ReleaseRequest frees the hold with this token. With Token 0 and an attempt's
// Seq it gives up the attempt's place in line, frees whatever it was granted, and
// makes sure that it will not be granted anything later.
type ReleaseRequest struct {
	Name    string
	Token   uint64
	Attempt sema.Attempt
	// Account, unless nil, is that of who asks: to a hold, or a ticket, that counts on
	// another one nothing is done, and the error is [sema.ErrNotHeld]. Nil: whoever asks may
	// act on all.
	Account *Account
}

// Validate reports every fault of the request, joined.
func (r ReleaseRequest) Validate() error {
	return errors.Join(sema.ValidateName(r.Name), validateAttempt(r.Attempt))
}

// ForceReleaseRequest ends the hold with this token, whoever it belongs to. It
// names the token so that a repeated request cannot hit a later hold.
type ForceReleaseRequest struct {
	Name  string
	Token uint64
}

// Validate reports every fault of the request, joined.
func (r ForceReleaseRequest) Validate() error {
	var token error
	if r.Token == 0 {
		token = &sema.InvalidError{Field: "token", Value: "0", Limit: "the token of the hold to end, as get tells it"}
	}
	return errors.Join(sema.ValidateName(r.Name), token)
}

// GetRequest asks who holds.
type GetRequest struct {
	Name  string
	Stale bool // read the node's own state, which may be behind
	Line  int  // how many of its line to tell of, at most MaxPageSize
}

// Validate reports every fault of the request, joined.
func (r GetRequest) Validate() error {
	return errors.Join(sema.ValidateName(r.Name), validateLine(r.Line))
}

// GetResult tells who holds and who waits.
type GetResult struct {
	Info sema.Info
	Line []sema.Ticket // the first in line
}

func validateLine(n int) error {
	if n < 0 || n > MaxPageSize {
		return invalidInt("line", n, "0 to 1000")
	}
	return nil
}

// Page sizes of [ListRequest].
const (
	DefaultPageSize = 100
	MaxPageSize     = 1000
)

// ListRequest asks for one page of the holds whose names start with Prefix, in
// ascending order of name.
type ListRequest struct {
	Prefix string
	After  string // only names above this one; the last name of the page before
	Limit  int    // DefaultPageSize if zero
	Stale  bool   // read the node's own state, which may be behind
	Line   int    // how many of each line to tell of, at most MaxPageSize
	// Within, unless empty, leaves out names that start with none of these, which are
	// in ascending order and none the beginning of another.
	Within []string
}

// MaxWithin bounds ListRequest.Within.
const MaxWithin = access.MaxPrefixes

// Validate reports every fault of the request, joined.
func (r ListRequest) Validate() error {
	var prefix, after error
	if r.Prefix != "" {
		prefix = renameField("prefix", sema.ValidateName(r.Prefix))
	}
	if r.After != "" {
		after = renameField("page_token", sema.ValidateName(r.After))
	}
	var limit error
	if r.Limit < 0 || r.Limit > MaxPageSize {
		limit = invalidInt("page_size", r.Limit, "0 (100) to 1000")
	}
	return errors.Join(prefix, after, limit, validateLine(r.Line), validateWithin(r.Within))
}

func validateWithin(within []string) error {
	if n := len(within); n > MaxWithin {
		return invalidInt("within", n, "at most 1024")
	}
	for i, prefix := range within {
		if prefix != "" {
			if err := sema.ValidateName(prefix); err != nil {
				return renameField("within", err)
			}
		}
		if i > 0 && (prefix <= within[i-1] || strings.HasPrefix(prefix, within[i-1])) {
			return &sema.InvalidError{Field: "within", Value: prefix, Limit: "ascending order, and none the beginning of another"}
		}
	}
	return nil
}

// ListResult is one page.
type ListResult struct {
	Infos []sema.Info
	// Lines has the first in the line of each semaphore that has one, by name.
	Lines map[string][]sema.Ticket
	// Next is ListRequest.After of the next page, empty on the last one.
	Next string
}

// StatusRequest asks how the cluster is.
type StatusRequest struct {
	NodeOnly bool // only the node that is asked
}

// ClusterStatus is how the cluster is, as one node sees it.
type ClusterStatus struct {
	ClusterID string
	Nodes     []NodeStatus // in ascending order of id
}

// NodeStatus is how one node is.
type NodeStatus struct {
	ID           string
	RaftAddr     string // where nodes reach it
	GRPCAddr     string // where clients reach it, empty if not known
	Leader       bool
	State        string // leader, follower, candidate, shutdown or unreachable
	Term         uint64
	CommitIndex  uint64
	AppliedIndex uint64
	Err          string // why it is unreachable
	Voter        bool   // part of majorities; false: it has not caught up yet. Not known with NodeOnly
}
