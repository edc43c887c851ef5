package history

import (
	"errors"
	"fmt"
	"time"

	"github.com/semanode/sema"
)

// Kind says what a client asked for.
type Kind uint8

// The kinds of calls.
const (
	Acquire Kind = iota + 1 // one try
	Wait                    // an acquire that waits in line
	Touch                   // of the hold Op.Token
	Release                 // of the hold Op.Token; if that is zero, of whatever the client has under the name
	Get                     // who holds, decided by the log
	Stale                   // who holds, from the memory of whoever is asked
	Force                   // the forced release of the hold Op.Token
)

var kindTexts = [...]string{Acquire: "acquire", Wait: "wait", Touch: "touch", Release: "release",
	Get: "get", Stale: "stale get", Force: "forced release"}

// String returns the kind in plain words.
func (k Kind) String() string {
	if k < Acquire || k > Force {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindTexts[k]
}

// Outcome says what is known of a call's effect.
type Outcome uint8

// The outcomes of a call.
const (
	Pending Outcome = iota // not ended yet: it may take effect at any time
	OK                     // answered without an error
	Failed                 // refused or not done: it had certainly no effect that outlasts the call
	Unknown                // the answer was lost: it may take effect at any later time
)

var outcomeTexts = [...]string{Pending: "pending", OK: "ok", Failed: "failed", Unknown: "outcome unknown"}

// String returns the outcome in plain words.
func (o Outcome) String() string {
	if o > Unknown {
		return fmt.Sprintf("Outcome(%d)", uint8(o))
	}
	return outcomeTexts[o]
}

// Class sorts errors by what they claim.
type Class uint8

// The classes of errors.
const (
	NoError     Class = iota
	NotHeld           // the hold is not, or no longer, there
	NotFound          // nobody holds
	HeldByOther       // somebody else holds; what is told of it may be old
	Other             // claims nothing about the semaphore
)

// Classify tells what an error of a [sema.Service] says: whether the call had an
// effect, and what it claims about the semaphore. [sema.ErrLost], as unlocking a
// lock returns it, is NotHeld.
func Classify(err error) (Outcome, Class) {
	switch {
	case err == nil:
		return OK, NoError
	case errors.Is(err, sema.ErrOutcomeUnknown):
		return Unknown, Other
	case errors.Is(err, sema.ErrNotHeld), errors.Is(err, sema.ErrLost):
		return Failed, NotHeld
	case errors.Is(err, sema.ErrNotFound):
		return Failed, NotFound
	case errors.Is(err, sema.ErrHeld):
		return Failed, HeldByOther
	}
	return Failed, Other
}

// Op is one call of one client, from the moment before it was sent to the moment
// its answer was there. Times count from the beginning of the history.
type Op struct {
	ID     int
	Client string
	Kind   Kind
	Name   string
	// Owner as given to an Acquire or a Wait, and different for each: it is how an
	// op's effect is recognised in other answers, also if its own was lost.
	Owner   string
	Timeout time.Duration // Acquire, Wait
	Token   uint64        // asked for: Touch, Release, Force

	Start, End time.Duration // End is of no matter while the op is Pending
	// StartSeq and EndSeq number the moments of all ops in the order in which they
	// happened, from 1. Zero, in a history written by hand, means not known: then
	// moments of the same time may have happened in either order.
	StartSeq, EndSeq uint64

	Outcome Outcome
	Class   Class     // of the error, if there was one
	Err     string    // its text
	Info    sema.Info // as answered
	Places  []Told    // what a Wait was told of its place in line
}

// Told is a place in line as a client was told of it.
type Told struct {
	At       time.Duration
	Seq      uint64 // as Op.StartSeq
	Position int
}

// acquires reports whether the op can be granted a hold.
func (o *Op) acquires() bool { return o.Kind == Acquire || o.Kind == Wait }

// acquired is the token that the op's answer grants, or zero.
func (o *Op) acquired() uint64 {
	if !o.acquires() || o.Outcome != OK || o.Info.Status != sema.Acquired {
		return 0
	}
	return o.Info.Token
}

// touched is the token of the hold that the op kept alive, or zero.
func (o *Op) touched() uint64 {
	switch {
	case o.Kind != Touch || o.Outcome != OK:
		return 0
	case o.Info.Token != 0:
		return o.Info.Token
	}
	return o.Token
}

// mayEnd reports whether the op ended the hold, or may have, because its client asked
// for that. A release that was told "not held" counts: an earlier try of the same call
// may have done it.
func (o *Op) mayEnd(g *grant) bool {
	switch {
	case o.Kind != Release && o.Kind != Force || o.Outcome == Failed && o.Class != NotHeld && o.Class != NotFound:
		return false
	case o.Kind == Release && o.Token == 0: // whatever the client had
		return g.by != nil && g.by.Client == o.Client
	}
	return o.Token == g.token
}

// over reports whether the op can have no effect after its end.
func (o *Op) over() bool { return o.Outcome == OK || o.Outcome == Failed }

// shows is the token of the hold that the op's answer describes, whatever the
// answer is, or zero.
func (o *Op) shows() uint64 {
	if !o.over() {
		return 0
	}
	return o.Info.Token
}

// precedes reports whether a had certainly ended when b began.
func precedes(a, b *Op) bool {
	return a.Outcome != Pending && before(a.End, a.EndSeq, b.Start, b.StartSeq)
}

// before orders two moments by their numbers if both have one, and otherwise by
// their times; then moments of the same time have no order.
func before(at time.Duration, seq uint64, than time.Duration, thanSeq uint64) bool {
	if seq != 0 && thanSeq != 0 {
		return seq < thanSeq
	}
	return at < than
}

// Hold is what a client believed that it held, by a lock handle that keeps the
// hold alive.
type Hold struct {
	Op     int // that acquired it
	Client string
	Name   string
	Owner  string
	Token  uint64
	From   time.Duration // when the handle was there
	// Until is when the client began to unlock, or when the handle's context
	// ended, whichever came first.
	Until time.Duration
	// Lost: the context ended because the hold was gone or its deadline had come.
	Lost bool
	// Deadline is the handle's last known local deadline, or zero if unknown; the
	// context of a lost hold ends WindDown before it.
	Deadline, WindDown time.Duration
}

// History is what the clients saw. It is not changed any more.
type History struct {
	Ops   []Op   // in the order in which they began
	Holds []Hold // likewise
}
