package history_test

import (
	"fmt"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster/history"
)

// A client acquires, and half a second later somebody is told that nobody holds. The
// history is written by hand here; a test records it with a [history.Recorder].
func Example() {
	h := history.History{Ops: []history.Op{
		{ID: 1, Client: "worker-1", Kind: history.Acquire, Name: "reports/daily", Owner: "worker-1, first run", Timeout: 30 * time.Second,
			Start: 1 * time.Second, End: 1200 * time.Millisecond, Outcome: history.OK,
			Info: sema.Info{Status: sema.Acquired, Owner: "worker-1, first run", Token: 7}},
		{ID: 2, Client: "worker-2", Kind: history.Get, Name: "reports/daily",
			Start: 1700 * time.Millisecond, End: 1800 * time.Millisecond, Outcome: history.Failed, Class: history.NotFound},
	}}
	fmt.Print(history.NothingLost(h, nil, history.Limits{}))
	// Output:
	// calls: 2, answered without an error: 1, lock handles: 0, semaphores: 1, violations: 1, undecided: 0
	//
	// nothing lost: worker-1 held "reports/daily", token 7, until 30.690s at the least; it was gone by 1.800s, and nobody had released it
	//   1.000s to 1.200s: worker-1, call 1: acquire "reports/daily" as worker-1, first run for 30s -> ACQUIRED, token 7 of worker-1, first run
	//   1.700s to 1.800s: worker-2, call 2: get "reports/daily" -> nobody holds it
	//
	// skipped, nothing lost: without a journal nobody can tell whether the log has what was acknowledged
}

// Recording is a pair of calls around each call of a client.
func ExampleRecorder() {
	recorder := history.NewRecorder()
	acquire := func() (sema.Info, error) { return sema.Info{Status: sema.Acquired, Owner: "me-1", Token: 7}, nil }

	call := recorder.Begin(history.Op{Client: "me", Kind: history.Acquire, Name: "a", Owner: "me-1", Timeout: time.Minute})
	info, err := acquire()
	outcome, _ := history.Classify(err)
	call.End(outcome, info, err)

	report := history.Check(recorder.History(), nil, history.Limits{MinOps: 1})
	fmt.Println(report.OK())
	// Output: true
}
