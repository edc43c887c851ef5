package testcluster_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/testcluster"
)

// overheard is a test inside a test: what it says and whether it failed stays here.
type overheard struct {
	testing.TB
	mu       sync.Mutex
	said     []string
	failed   bool
	cleanups []func()
}

// overhear runs a test to its end, cleanups too.
func overhear(t *testing.T, test func(tb testing.TB)) *overheard {
	t.Helper()
	o := &overheard{TB: t}
	o.apart(func() { test(o) })
	for _, cleanup := range slices.Backward(o.cleanups) {
		o.apart(cleanup)
	}
	return o
}

// apart runs something on a goroutine that Fatal can end.
func (o *overheard) apart(do func()) {
	var wg sync.WaitGroup
	wg.Go(do)
	wg.Wait()
}

func (o *overheard) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.said, "\n")
}

func (o *overheard) say(text string, failed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = append(o.said, text)
	o.failed = o.failed || failed
}

func (o *overheard) Helper()                           {}
func (o *overheard) Cleanup(do func())                 { o.cleanups = append(o.cleanups, do) }
func (o *overheard) Log(args ...any)                   { o.say(fmt.Sprint(args...), false) }
func (o *overheard) Logf(format string, args ...any)   { o.say(fmt.Sprintf(format, args...), false) }
func (o *overheard) Error(args ...any)                 { o.say(fmt.Sprint(args...), true) }
func (o *overheard) Errorf(format string, args ...any) { o.say(fmt.Sprintf(format, args...), true) }

func (o *overheard) Fatal(args ...any) {
	o.Error(args...)
	runtime.Goexit()
}

func (o *overheard) Fatalf(format string, args ...any) {
	o.Errorf(format, args...)
	runtime.Goexit()
}

func (o *overheard) Failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

// hasFailed checks that the test failed, and said all of this.
func (o *overheard) hasFailed(t *testing.T, with ...string) {
	t.Helper()
	if !o.Failed() {
		t.Errorf("the test passed; it should have failed with %q", with)
	}
	for _, part := range with {
		if !strings.Contains(o.text(), part) {
			t.Errorf("the test said:\n%s\nwhich should have %q in it", o.text(), part)
		}
	}
}

const (
	// patience is how long a call may take that should succeed.
	patience = 20 * time.Second
	// long is the timeout of holds that outlast a story.
	long = 10 * time.Minute
)

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// acquired takes a semaphore that must be free.
func acquired(t testing.TB, svc sema.Service, name string) sema.Info {
	t.Helper()
	ctx, cancel := within(patience)
	defer cancel()
	info, err := svc.Acquire(ctx, name, "somebody", long)
	if err != nil || info.Status != sema.Acquired {
		t.Fatalf("acquiring %s: status %v, error %v", name, info.Status, err)
	}
	return info
}

func released(t testing.TB, svc sema.Service, name string) {
	t.Helper()
	ctx, cancel := within(patience)
	defer cancel()
	if err := svc.Release(ctx, name); err != nil {
		t.Fatalf("releasing %s: %v", name, err)
	}
}

// serves checks that a semaphore can be acquired and released.
func serves(t testing.TB, cl *client.Client) {
	t.Helper()
	svc := cl.Fork()
	acquired(t, svc, "for a moment")
	released(t, svc, "for a moment")
}

// serveless checks that it cannot.
func serveless(t testing.TB, cl *client.Client) {
	t.Helper()
	ctx, cancel := within(5 * time.Second)
	defer cancel()
	if info, err := cl.Fork().Acquire(ctx, "not to be had", "somebody", sema.MinTimeout); err == nil {
		t.Fatalf("acquired, although nobody can grant it: %+v", info)
	}
}

// stillHeld checks that a hold is as it was.
func stillHeld(t testing.TB, cl *client.Client, hold sema.Info) {
	t.Helper()
	ctx, cancel := within(patience)
	defer cancel()
	info, err := cl.Get(ctx, hold.Name)
	if err != nil || info.Token != hold.Token {
		t.Fatalf("%s was held with token %d, and is held with %d, error %v", hold.Name, hold.Token, info.Token, err)
	}
}

// leaderIsNot waits until another node leads.
func leaderIsNot(c *testcluster.Cluster, id string) *cluster.Node {
	var leader *cluster.Node
	c.Eventually("a node other than "+id+" leads", func() error {
		if leader = c.Leader(); leader.ID() == id {
			return fmt.Errorf("%s does", id)
		}
		return nil
	})
	return leader
}

func others(c *testcluster.Cluster, id string) []string {
	return slices.DeleteFunc(c.IDs(), func(other string) bool { return other == id })
}
