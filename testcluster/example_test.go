package testcluster_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/fence"
	"github.com/semanode/sema/testcluster"
)

// A first chaos test: a section that looks at its context and has its token checked
// where it writes.
func TestTransfer(t *testing.T) {
	var store fence.Memory // stands for a database that refuses old tokens
	testcluster.Exercise(t, testcluster.ExerciseOptions{}, func(ctx context.Context, lock *testcluster.Held) error {
		for range 3 {
			err := lock.Do("write", func() error { return store.Advance(ctx, lock.Name(), lock.Token()) })
			if err != nil {
				return err // somebody with a newer token was here
			}
			select {
			case <-time.After(time.Second): // the work between two writes
			case <-ctx.Done():
				return context.Cause(ctx) // the hold is lost: stop
			}
		}
		return nil
	})
}

// The section of this test is right: it passes.
func ExampleExercise() {
	run(TestTransfer)
	// Output: PASS
}

// The section of this test works on whatever happens, and shows no token. The report
// has the events that led to each mistake.
func ExampleExamine() {
	run(func(t *testing.T) {
		balance := 0
		report := testcluster.Examine(t, testcluster.ExerciseOptions{}, func(_ context.Context, lock *testcluster.Held) error {
			for range 3 {
				_ = lock.Do("write", func() error { balance++; return nil })
				<-time.After(time.Second)
			}
			return nil
		})
		var kinds []string
		for _, m := range report.Mistakes {
			kinds = append(kinds, m.Kind)
		}
		slices.Sort(kinds)
		for _, kind := range kinds {
			fmt.Println(kind)
		}
	})
	// Output:
	// a write accepted with an old token
	// two at once
	// work after the context was cancelled
	// PASS
}

// A leader that is cut off cannot keep anybody from a lock.
func ExampleRun() {
	run(func(t *testing.T) {
		testcluster.Run(t, testcluster.Options{}, func(t *testing.T, c *testcluster.Cluster) {
			c.Isolate(c.Leader().ID())
			began := time.Now()
			lock, err := c.Client().Lock(t.Context(), "reports", client.LockOptions{Owner: "example", Timeout: 10 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println("locked within 10 s:", time.Since(began) < 10*time.Second)
			if err := lock.Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	})
	// Output:
	// locked within 10 s: true
	// PASS
}

// A machine that lost its disk comes back as a new member, and what was granted before
// stands.
func ExampleCluster_LoseDisk() {
	run(func(t *testing.T) {
		testcluster.Run(t, testcluster.Options{}, func(t *testing.T, c *testcluster.Cluster) {
			if _, err := c.Client().Acquire(t.Context(), "reports", "example", time.Hour); err != nil {
				t.Fatal(err)
			}
			lost := c.Leader().ID()
			c.LoseDisk(lost)
			c.Start(lost) // removes the node, and takes it in again
			info, err := c.ClientOf(lost).Get(t.Context(), "reports")
			if err != nil {
				t.Fatal(err)
			}
			fmt.Println("held by", info.Owner)
		})
	})
	// Output:
	// held by example
	// PASS
}

// run runs a test as go test does: an example has no [testing.T] of its own. It says
// no more than the test does, also with -v, runs once, and is not skipped by what is for
// other tests.
func run(test func(*testing.T)) {
	for name, value := range map[string]string{"test.v": "false", "test.count": "1", "test.skip": ""} {
		f := flag.Lookup(name).Value
		before := f.String()
		_ = f.Set(value) // cannot fail
		defer func() { _ = f.Set(before) }()
	}
	all := func(string, string) (bool, error) { return true, nil }
	if testing.RunTests(all, []testing.InternalTest{{Name: "Example", F: test}}) {
		fmt.Println("PASS")
	}
}
