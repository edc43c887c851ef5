package history_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster/history"
)

// timeout of all holds of hand-written histories. They are good for 9.89 s.
const timeout = 10 * time.Second

func seconds(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// The calls of hand-written histories: of a client, from one second to another, all
// about semaphore "a". told numbers them from 1 and gives each acquire an owner.

func call(client string, kind history.Kind, from, to float64) history.Op {
	return history.Op{Client: client, Kind: kind, Name: "a", Start: seconds(from), End: seconds(to), Outcome: history.OK}
}

func answered(op history.Op, status sema.Status, token uint64) history.Op {
	op.Info = sema.Info{Status: status, Name: op.Name, Token: token}
	return op
}

func acquired(client string, from, to float64, token uint64) history.Op {
	return answered(call(client, history.Acquire, from, to), sema.Acquired, token)
}

func waited(client string, from, to float64, token uint64) history.Op {
	return answered(call(client, history.Wait, from, to), sema.Acquired, token)
}

func refused(client string, from, to float64, token uint64) history.Op {
	return answered(call(client, history.Acquire, from, to), sema.OwnedBySomeoneElse, token)
}

func forced(client string, from, to float64, token uint64) history.Op {
	return answered(call(client, history.Acquire, from, to), sema.ForcedReleased, token)
}

func meantime(client string, from, to float64) history.Op {
	return answered(call(client, history.Acquire, from, to), sema.ReleasedInTheMeanTime, 0)
}

func touched(client string, from, to float64, token uint64) history.Op {
	op := answered(call(client, history.Touch, from, to), sema.Acquired, token)
	op.Token = token
	return op
}

func released(client string, from, to float64, token uint64) history.Op {
	op := call(client, history.Release, from, to)
	op.Token = token
	return op
}

func used(client string, from, to float64, token uint64) history.Op { // force
	op := answered(call(client, history.Force, from, to), sema.ForcedReleased, token)
	op.Token = token
	return op
}

func found(client string, from, to float64, token uint64) history.Op {
	return answered(call(client, history.Get, from, to), sema.OwnedBySomeoneElse, token)
}

func stale(client string, from, to float64, token uint64) history.Op {
	return answered(call(client, history.Stale, from, to), sema.OwnedBySomeoneElse, token)
}

func nobody(client string, from, to float64) history.Op {
	return failing(call(client, history.Get, from, to), history.NotFound)
}

// failing is the op with an error instead of its answer.
func failing(op history.Op, class history.Class) history.Op {
	op.Outcome, op.Class, op.Info = history.Failed, class, sema.Info{}
	return op
}

func unknown(op history.Op) history.Op {
	op.Outcome, op.Class, op.Info = history.Unknown, history.Other, sema.Info{}
	return op
}

func pending(op history.Op) history.Op {
	op.Outcome, op.End, op.Info = history.Pending, 0, sema.Info{}
	return op
}

// of is an answer about the hold of op number n, which did not learn of it itself.
func of(n int, op history.Op) history.Op {
	op.Info.Owner = fmt.Sprint("#", n)
	return op
}

// on is the op on another semaphore.
func on(name string, op history.Op) history.Op {
	op.Name = name
	if op.Info.Name != "" {
		op.Info.Name = name
	}
	return op
}

// placed is a wait that was told its place.
func placed(op history.Op, at float64, position int) history.Op {
	op.Places = append(slices.Clone(op.Places), history.Told{At: seconds(at), Position: position})
	return op
}

// numbered gives the ops the order in which they are written: each ends before the next begins.
func numbered(ops ...history.Op) []history.Op {
	for i := range ops {
		ops[i].StartSeq, ops[i].EndSeq = uint64(2*i+1), uint64(2*i+2)
	}
	return ops
}

// handle is a lock handle of op number n.
func handle(n int, client string, token uint64, from, until float64) history.Hold {
	return history.Hold{Op: n, Client: client, Name: "a", Owner: ownerOf(n), Token: token, From: seconds(from), Until: seconds(until)}
}

// lostHandle is a handle whose context ended because the hold was lost.
func lostHandle(n int, client string, token uint64, from, until, deadline float64) history.Hold {
	h := handle(n, client, token, from, until)
	h.Lost, h.Deadline = true, seconds(deadline)
	return h
}

func ownerOf(n int) string { return fmt.Sprint("#", n) }

// told is the history of these calls.
func told(ops ...history.Op) history.History {
	ops = slices.Clone(ops)
	holder := map[uint64]string{}
	for i := range ops {
		op := &ops[i]
		op.ID = i + 1
		if op.Kind == history.Acquire || op.Kind == history.Wait {
			op.Owner, op.Timeout = ownerOf(op.ID), timeout
			if op.Info.Status == sema.Acquired && op.Outcome == history.OK && op.Info.Owner == "" {
				op.Info.Owner = op.Owner
				holder[op.Info.Token] = op.Owner
			}
		}
	}
	for i := range ops {
		if info := &ops[i].Info; info.Token != 0 && info.Owner == "" {
			info.Owner = holder[info.Token]
		}
	}
	return history.History{Ops: ops}
}

// with is the history with lock handles.
func with(h history.History, holds ...history.Hold) history.History {
	h.Holds = holds
	return h
}

// violated are the verdicts of a report that found something.
func violated(r history.Report) []string {
	var names []string
	for _, v := range r.Violations {
		names = append(names, v.Verdict)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// expect compares the verdicts that found something.
func expect(t *testing.T, r history.Report, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := violated(r); !slices.Equal(got, want) {
		t.Errorf("violated: %q, want %q\n%v", got, want, r)
	}
	if len(r.Undecided) > 0 {
		t.Errorf("undecided:\n%v", r)
	}
}
