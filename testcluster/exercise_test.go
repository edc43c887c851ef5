package testcluster_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/fence"
	"github.com/semanode/sema/testcluster"
)

// exercising is the default, shorter with the race detector.
func exercising() testcluster.ExerciseOptions {
	return testcluster.ExerciseOptions{Duration: max(4*time.Minute, shortened(10*time.Minute))}
}

// work takes a while and does not look up.
func work(d time.Duration) { <-time.After(d) }

func TestSectionWithoutContextAndTokenIsCaught(t *testing.T) {
	t.Parallel()
	balance := 0
	report := testcluster.Examine(t, exercising(), func(_ context.Context, lock *testcluster.Held) error {
		for range 4 {
			_ = lock.Do("add one", func() error { balance++; return nil })
			work(time.Second)
		}
		return nil
	})
	t.Log(report)
	for _, kind := range []string{testcluster.TwoAtOnce, testcluster.WorkAfterCancel, testcluster.OldToken} {
		if !slices.ContainsFunc(report.Mistakes, func(m testcluster.Mistake) bool { return m.Kind == kind && len(m.Story) > 2 }) {
			t.Errorf("not caught: %s", kind)
		}
	}
}

// A section that looks at its context before each write, and has no token checked,
// is stopped between the look and the write.
func TestSectionWithoutTokenIsCaught(t *testing.T) {
	t.Parallel()
	report := testcluster.Examine(t, exercising(), func(ctx context.Context, lock *testcluster.Held) error {
		for range 4 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			_ = lock.Do("write", func() error { return nil })
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		return nil
	})
	if len(report.Mistakes) != 1 || report.Mistakes[0].Kind != testcluster.OldToken {
		t.Fatal(report)
	}
}

func TestSectionWithContextAndTokenPasses(t *testing.T) {
	t.Parallel()
	var store fence.Memory
	testcluster.Exercise(t, exercising(), func(ctx context.Context, lock *testcluster.Held) error {
		for range 4 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := lock.Do("write", func() error { return store.Advance(context.WithoutCancel(ctx), lock.Name(), lock.Token()) }); err != nil {
				return err
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		return nil
	})
}

func TestExerciseOfNothingDoesNotCount(t *testing.T) {
	t.Parallel()
	report := testcluster.Examine(t, testcluster.ExerciseOptions{Duration: time.Minute}, func(context.Context, *testcluster.Held) error { return nil })
	if report.OK() || len(report.Trouble) == 0 {
		t.Fatal(report)
	}
}

// A section that works for as long as it holds, as a leader among many does, is
// ended with the exercise. It may work with several goroutines.
func TestSectionWithoutAnEndOfItsOwn(t *testing.T) {
	t.Parallel()
	var store fence.Memory
	testcluster.Exercise(t, exercising(), func(ctx context.Context, lock *testcluster.Held) error {
		write := func() error {
			return lock.Do("write", func() error { return store.Advance(context.Background(), lock.Name(), lock.Token()) })
		}
		other := make(chan error, 1)
		for {
			go func() { other <- write() }()
			if err := write(); err != nil {
				<-other
				return err
			}
			if err := <-other; err != nil {
				return err
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
}

func TestSectionThatPanicsOrExitsIsReported(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		section testcluster.Section
		want    string
	}{
		{"panics", func(context.Context, *testcluster.Held) error { panic("out of paper") }, "panicked: out of paper"},
		{"ends its goroutine", func(context.Context, *testcluster.Held) error { runtime.Goexit(); return nil }, "let it return an error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := testcluster.Examine(t, testcluster.ExerciseOptions{Duration: time.Minute, Faults: []testcluster.Fault{}}, c.section)
			if len(report.Trouble) == 0 || !strings.Contains(report.Trouble[0].Error(), c.want) {
				t.Fatalf("want %q, got %v", c.want, report)
			}
		})
	}
}

func TestExerciseWithoutFaultsOfTheClusterStallsHolders(t *testing.T) {
	t.Parallel()
	report := testcluster.Examine(t, testcluster.ExerciseOptions{Duration: 5 * time.Minute, Faults: []testcluster.Fault{}}, func(_ context.Context, lock *testcluster.Held) error {
		return lock.Do("write", func() error { return nil })
	})
	if report.Stalls == 0 || report.Lost == 0 {
		t.Fatal(report)
	}
}

func TestClusterIsOfNoUseAfterItsTest(t *testing.T) {
	t.Parallel()
	var kept *testcluster.Cluster
	testcluster.Run(t, testcluster.Options{}, func(_ *testing.T, c *testcluster.Cluster) { kept = c })
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "ended with its test") {
			t.Fatalf("got %v", p)
		}
	}()
	kept.Leader()
}
