package fsm_test

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
)

// What raft does with a machine, by hand: a leader of term 1 stamps a batch, and
// every node applies the entry.
func Example() {
	batch := fsm.Batch{
		Stamp: fsm.Stamp{Term: 1, Clock: fsm.Time(5 * time.Second), Wall: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano()},
		Commands: []fsm.Command{
			{Kind: fsm.Acquire, Name: "reports/daily", Owner: "worker-1", Timeout: 30 * time.Second},
			{Kind: fsm.Acquire, Name: "reports/daily", Owner: "worker-2", Timeout: 30 * time.Second},
			{Kind: fsm.Touch, Name: "reports/daily", Token: 7},
		},
	}
	entry, err := fsm.AppendBatch(nil, batch)
	if err != nil {
		panic(err)
	}
	machine := fsm.New()
	results, ok := machine.Apply(&raft.Log{Index: 1, Term: 1, Data: entry}).([]fsm.Result)
	if !ok {
		panic(machine.Err()) // the node must end
	}
	for _, r := range results {
		if r.Err != nil {
			fmt.Println(r.Err)
			continue
		}
		fmt.Printf("%v: token %d of %s, good until %s\n", r.Info.Status, r.Info.Token, r.Info.Owner, r.Info.ExpiresAt.Format(time.TimeOnly))
	}
	// Output:
	// ACQUIRED: token 1 of worker-1, good until 12:00:30
	// OWNED_BY_SOMEONE_ELSE: token 1 of worker-1, good until 12:00:30
	// sema: not held
}
