package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// testOffice is an office whose proposer the test plays itself.
func testOffice(queue int) *office {
	return &office{node: &Node{log: hclog.NewNullLogger(), meters: new(meters)}, queue: make(chan *proposal, queue), ended: make(chan struct{}), expiry: newExpiry(), awaited: newExpiry()}
}

func TestFullQueueIsOverloaded(t *testing.T) {
	o := testOffice(1)
	if err := o.enqueue(newProposal(fsm.Command{})); err != nil {
		t.Fatal(err)
	}
	if _, err := o.submit(context.Background(), fsm.Command{}); !errors.Is(err, sema.ErrOverloaded) {
		t.Fatalf("submit to a full queue: %v", err)
	}
}

func TestCallerWhoGivesUpInTheQueueFails(t *testing.T) {
	o := testOffice(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := o.submit(ctx, fsm.Command{}); !errors.Is(err, context.Canceled) || errors.Is(err, sema.ErrOutcomeUnknown) {
		t.Fatalf("gave up in the queue: %v", err)
	}
	if batch, _ := o.gather(<-o.queue); len(batch) != 0 {
		t.Fatal("what the caller was told had failed is proposed")
	}
}

func TestCallerWhoGivesUpInABatchDoesNotKnow(t *testing.T) {
	o := testOffice(1)
	ctx, cancel := context.WithCancel(context.Background())
	answer := make(chan error)
	go func() {
		_, err := o.submit(ctx, fsm.Command{})
		answer <- err
	}()
	if batch, _ := o.gather(<-o.queue); len(batch) != 1 {
		t.Fatal("not gathered")
	}
	cancel()
	if err := <-answer; !errors.Is(err, sema.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Fatalf("gave up in a batch: %v", err)
	}
}

func TestWhatEndsByTimeGoesLast(t *testing.T) {
	o := testOffice(8)
	kinds := []fsm.Command{
		{Kind: fsm.Expire, Name: "a"},
		{Kind: fsm.Acquire, Name: "b", Token: 7}, // saw an overdue hold
		{Kind: fsm.Touch, Name: "a"},
		{Kind: fsm.Acquire, Name: "c"},
		{Kind: fsm.Release, Name: "b"},
	}
	for _, c := range kinds {
		if err := o.enqueue(newProposal(c)); err != nil {
			t.Fatal(err)
		}
	}
	var order string
	batch, _ := o.gather(<-o.queue)
	for _, p := range batch {
		order += string('0'+byte(p.commands[0].Kind)) + p.commands[0].Name + " "
	}
	if want := "2a 1c 3b 4a 1b "; order != want {
		t.Fatalf("order %q, want %q", order, want)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	o := testOffice(2 * maxProposed)
	for range 2 * maxProposed {
		if err := o.enqueue(newProposal(fsm.Command{Kind: fsm.Query})); err != nil {
			t.Fatal(err)
		}
	}
	if batch, left := o.gather(<-o.queue); len(batch) != maxProposed || left == nil {
		t.Fatalf("%d commands in a batch, %v left", len(batch), left)
	}
}

// TestManyTogetherCountOneByOne: a proposal of many commands takes as much of
// the queue and of a batch as they do, and none of them is lost in between.
func TestManyTogetherCountOneByOne(t *testing.T) {
	together := make([]fsm.Command, maxTogether)
	for i := range together {
		together[i] = fsm.Command{Kind: fsm.Touch, Name: "a"}
	}
	o := testOffice(8*maxTogether + 1)
	if err := o.enqueue(newProposal(fsm.Command{Kind: fsm.Query})); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if err := o.enqueue(newProposal(together...)); err != nil {
			t.Fatalf("proposal %d: %v", i, err)
		}
	}
	if err := o.enqueue(newProposal(fsm.Command{Kind: fsm.Query})); !errors.Is(err, sema.ErrOverloaded) {
		t.Fatalf("one command more than there is room for: %v", err)
	}
	var sizes []int
	for next := <-o.queue; next != nil; {
		var batch []*proposal
		batch, next = o.gather(next)
		size := 0
		for _, p := range batch {
			size += len(p.commands)
		}
		sizes = append(sizes, size)
	}
	if want := []int{1 + maxTogether, maxProposed, maxProposed, maxProposed, maxTogether}; !slices.Equal(sizes, want) {
		t.Fatalf("batches of %v commands, want %v", sizes, want)
	}
	if n := o.queued.Load(); n != 0 {
		t.Fatalf("%d commands counted in an empty queue", n)
	}
}
