package fsm

import (
	"time"

	"github.com/semanode/sema"
)

// Limits of a log entry.
const (
	MaxCommands   = 1024    // commands in one batch
	MaxBatchBytes = 1 << 20 // encoded bytes of one batch; MaxCommands of the largest commands fit
)

// MaxWaiting bounds a semaphore's line. Replicas must agree on it: a change is a
// new version of the log.
const MaxWaiting = 100_000

// ClientRetention is how long, in cluster time, a silent client is remembered
// at the least; at the most it is twice that.
const ClientRetention = time.Hour

// Time is cluster time: nanoseconds since the cluster was founded during which
// it had a leader.
type Time int64

// Add returns t+d, and the end of time instead of an overflow.
func (t Time) Add(d time.Duration) Time {
	if sum := t + Time(d); sum >= t || d < 0 {
		return sum
	}
	return Time(1<<63 - 1)
}

// Stamp is what the leader writes on a batch.
type Stamp struct {
	Term  uint64 // the leader's Raft term
	Clock Time   // cluster time
	Wall  int64  // wall-clock time, Unix nanoseconds; for people
}

// Batch is the content of one log entry. A batch without commands moves the
// clock and is a barrier.
type Batch struct {
	Stamp
	Commands []Command
}

// Kind says what a command does. Numbers are on disk: append only.
type Kind uint8

// The kinds of commands.
const (
	Acquire      Kind = 1 // take the semaphore, wait for it, or end the overdue hold that the leader saw
	Touch        Kind = 2 // move the deadline of the hold with this token
	Release      Kind = 3 // free the hold with this token, or the hold or ticket of this attempt
	Expire       Kind = 4 // end the hold with this token if it is overdue since this deadline
	ForceRelease Kind = 5 // end the hold with this token, whoever asks
	Query        Kind = 6 // tell who holds
	Cancel       Kind = 7 // take back what this attempt has as long as nobody was told: its ticket, or the hold with this token
)

func (k Kind) known() bool { return k >= Acquire && k <= Cancel }

// Command is one thing to do. Which fields matter depends on its kind.
type Command struct {
	Kind    Kind
	Name    string
	Owner   string        // Acquire
	Timeout time.Duration // Acquire
	// Token names a hold. For Acquire, together with Deadline: the overdue hold
	// that the leader saw, or zero for none.
	Token    uint64
	Deadline Time         // Acquire, Expire
	Attempt  sema.Attempt // Acquire, Touch, Release, Cancel
	// Wait makes an Acquire that cannot be granted take a ticket in the line. It
	// needs an attempt, and Token and Deadline are of no matter to it.
	Wait bool
	// Account, unless nil, is on whose account an Acquire counts. Beyond its limits the
	// answer is a [sema.LimitError], and the attempt is not decided.
	Account *Account
}

// Result is the answer to one command.
type Result struct {
	// Info answers Acquire, Touch and Query, and describes the hold that
	// ForceRelease or Expire ended. A Release has none: Ended says it all.
	Info sema.Info
	// Err is nil or one of the errors of package sema.
	Err error
	// Deadline of the hold that was granted, touched, found by Query or stands
	// before a ticket.
	Deadline Time
	// Ended is the token of the hold that this command ended, or zero.
	Ended uint64
	// Held is how long that hold stood, by the wall clock as the log has it.
	Held time.Duration
	// New reports whether an Acquire was granted its hold by this command. A retry is told
	// of the same hold again.
	New bool
	// Granted is the hold that went to the head of the line, because this command
	// freed a permit, or nil.
	Granted *Grant
	// Ticket is the number of the ticket that an Acquire with Wait has, or that a
	// Cancel took away, or zero. With an Acquire, Info is then that of the hold that
	// it waits for.
	Ticket uint64
}

// Grant is a hold that somebody was given who waited in line.
type Grant struct {
	Attempt  sema.Attempt // Client and Seq only
	Info     sema.Info    // Status Acquired
	Deadline Time
	Waited   time.Duration // in line, by the wall clock as the log has it
}
