package testcluster_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/testcluster"
)

// Every fault, alone, does what it is for; when it is undone the cluster is as before.
func TestFaults(t *testing.T) {
	for _, f := range testcluster.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			testcluster.Run(t, testcluster.Options{}, func(t *testing.T, c *testcluster.Cluster) {
				cl := c.Client()
				leader := c.Leader().ID()
				hold := acquired(t, cl, "held all the time")
				stop := load(t, cl)
				injury := c.Inject(f, target(f, cl, leader))
				<-time.After(max(f.MinFor, min(f.MaxFor, 8*time.Second)))
				if err := injury.Undo(); err != nil {
					t.Errorf("undoing it: %v", err)
				}
				proof := injury.Proof()
				if proof == "" {
					t.Error("it has no proof that it did something")
				}
				answered := stop()
				for _, id := range c.IDs() {
					if c.Node(id) == nil {
						t.Errorf("%s does not run when it is over", id)
					}
					serves(t, c.ClientOf(id).Client) // within patience
				}
				stop = load(t, cl)
				<-time.After(2 * time.Second)
				if stop() == 0 {
					t.Error("it is over, and no call was answered in 2 s")
				}
				stillHeld(t, cl.Client, hold)
				if after := injury.Proof(); after != proof {
					t.Errorf("it goes on when it is over: %s, and then %s", proof, after)
				}
				t.Logf("%s; %d calls were answered meanwhile", proof, answered)
			})
		})
	}
}

func target(f testcluster.Fault, cl *testcluster.Client, node string) string {
	switch f.On {
	case testcluster.OnClient:
		return cl.Name
	case testcluster.OnCluster:
		return ""
	}
	return node
}

// load lets the client acquire and release until stop is called, which returns how
// many calls were answered.
func load(t *testing.T, cl *testcluster.Client) (stop func() int64) {
	t.Helper()
	var answered atomic.Int64
	var wg sync.WaitGroup
	over := make(chan struct{})
	wg.Go(func() {
		svc := cl.Fork()
		for {
			ctx, cancel := within(2 * time.Second)
			if _, err := svc.Acquire(ctx, "busy", "load", sema.MinTimeout); err == nil {
				answered.Add(1)
			}
			_ = svc.Release(ctx, "busy") // whatever came of it
			cancel()
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return func() int64 {
		close(over)
		wg.Wait()
		return answered.Load()
	}
}

func TestFaultsAreDescribed(t *testing.T) {
	names := map[string]bool{}
	for _, f := range testcluster.Faults() {
		switch {
		case names[f.Name]:
			t.Errorf("there are two faults called %q", f.Name)
		case f.Name == "" || strings.ContainsAny(f.Name, " \t\n#"):
			t.Errorf("a schedule cannot list %q", f.Name)
		case f.About == "" || strings.Contains(f.About, "\n"):
			t.Errorf("%s: what it is about should be one line: %q", f.Name, f.About)
		case f.MinFor < 0 || f.MinFor > f.MaxFor:
			t.Errorf("%s lasts from %v to %v", f.Name, f.MinFor, f.MaxFor)
		}
		names[f.Name] = true
		same, err := testcluster.FaultNamed(f.Name)
		if err != nil || same.About != f.About {
			t.Errorf("FaultNamed(%q) is about %q, error %v", f.Name, same.About, err)
		}
	}
	if _, err := testcluster.FaultNamed("flood"); err == nil || !strings.Contains(err.Error(), `"flood"`) {
		t.Errorf("a fault that there is not: error %v", err)
	}
}

// With one node of three away, no fault takes another away.
func TestTheMajorityIsSpared(t *testing.T) {
	takers := []string{"kill", "power-cut", "power-cut-mid-write", "pause-short", "pause-long", "transfer", "disk-slow", "disk-stalled", "disk-full", "disk-error", "disk-lost"}
	for _, c := range []struct {
		name    string
		nodes   int
		harm    func(t *testing.T, c *testcluster.Cluster)
		applies bool // to n1
		onAll   bool
	}{
		{"all well", 3, func(*testing.T, *testcluster.Cluster) {}, true, true},
		{"one killed", 3, func(_ *testing.T, c *testcluster.Cluster) { c.Kill("n2") }, false, false},
		{"one paused", 3, func(_ *testing.T, c *testcluster.Cluster) { c.Pause("n2") }, false, false},
		{"one with a disk that is full", 3, injected("disk-full", "n2"), false, false},
		{"one with a disk that is stalled", 3, injected("disk-stalled", "n2"), false, false},
		{"one without its disk", 3, func(_ *testing.T, c *testcluster.Cluster) { c.LoseDisk("n2") }, false, false},
		{"itself killed", 5, func(_ *testing.T, c *testcluster.Cluster) { c.Kill("n1") }, false, false},
		{"one killed of five", 5, func(_ *testing.T, c *testcluster.Cluster) { c.Kill("n2") }, true, false},
		{"two killed of five", 5, func(_ *testing.T, c *testcluster.Cluster) { c.Kill("n2"); c.Kill("n3") }, false, false},
		{"the only one", 1, func(*testing.T, *testcluster.Cluster) {}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			testcluster.Run(t, testcluster.Options{Nodes: c.nodes}, func(t *testing.T, cl *testcluster.Cluster) {
				cl.Leader()
				cl.Eventually("every node takes part", func() error {
					for _, id := range cl.IDs() {
						if cl.Node(id).Leader().ID == "" {
							return errNotYet
						}
					}
					return nil
				})
				c.harm(t, cl)
				for _, name := range takers {
					if f := fault(t, name); f.Applies(cl, "n1") != c.applies {
						t.Errorf("%s applies to n1: %v, want %v", name, !c.applies, c.applies)
					}
				}
				if all := fault(t, "power-cut-all"); all.Applies(cl, "") != c.onAll {
					t.Errorf("power-cut-all applies: %v, want %v", !c.onAll, c.onAll)
				}
			})
		})
	}
}

func fault(t testing.TB, name string) testcluster.Fault {
	t.Helper()
	f, err := testcluster.FaultNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// injected injects a fault that is undone with the cluster.
func injected(name, on string) func(*testing.T, *testcluster.Cluster) {
	return func(t *testing.T, c *testcluster.Cluster) {
		injury := c.Inject(fault(t, name), on)
		t.Cleanup(func() {
			if err := injury.Undo(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFaultsThatDoNotApply(t *testing.T) {
	for _, c := range []struct {
		name, fault, on string
		opts            testcluster.Options
		harm            func(*testcluster.Cluster)
		want            string
	}{
		{name: "the majority", fault: "kill", on: "n1", harm: func(c *testcluster.Cluster) { c.Kill("n2") }, want: `fault kill does not apply to "n1" now`},
		{name: "no third for a chain", fault: "chain", on: "n1", opts: testcluster.Options{Nodes: 2}, want: `fault chain does not apply to "n1" now`},
		{name: "files do not lose what was written", fault: "power-cut-mid-write", on: "n1", opts: testcluster.Options{OnDisk: true}, want: "does not apply"},
		{name: "a node that there is not", fault: "isolate", on: "n7", want: `there is no node "n7"; there are [n1 n2 n3]`},
		{name: "a client for a node", fault: "kill", on: "c1", want: `fault kill strikes a node`},
		{name: "a node for a client", fault: "late-copies", on: "n1", want: `fault late-copies strikes a client, and there is no client "n1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				overhear(t, func(tb testing.TB) {
					cl := testcluster.New(tb, c.opts)
					cl.Client()
					if c.harm != nil {
						c.harm(cl)
					}
					cl.Inject(fault(t, c.fault), c.on)
				}).hasFailed(t, c.want)
			})
		})
	}
}

// A user's own fault, in a schedule with another: an operator who ends every hold.
func TestAFaultOfOnesOwn(t *testing.T) {
	t.Parallel()
	var ended atomic.Int64
	purge := testcluster.Fault{
		Name: "purge", About: "an operator releases whatever is held", On: testcluster.OnClient, MinFor: time.Second, MaxFor: time.Second,
		Inject: func(c *testcluster.Cluster, _ string, _ *rand.Rand) testcluster.Injury {
			var wg sync.WaitGroup
			ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
			wg.Go(func() {
				operator := c.Leader().Client()
				defer func() { _ = operator.Close() }()
				if _, err := operator.Acquire(ctx, "purged", "operator", sema.MinTimeout); err == nil {
					ended.Add(1)
				}
			})
			return testcluster.Injury{
				Undo: func() error { wg.Wait(); stop(); return nil },
				Proof: func() string {
					if ended.Load() > 0 {
						return "purged"
					}
					return ""
				},
			}
		},
	}
	schedule, err := testcluster.ParseSchedule("10s client purge 1s\n20s leader kill 5s\n40s c1 purge 1s")
	if err != nil {
		t.Fatal(err)
	}
	report := testcluster.Chaos(t, testcluster.ChaosOptions{
		Duration: time.Minute, Schedule: schedule, Faults: []testcluster.Fault{purge, fault(t, "kill")}, NeedProof: true, MinOps: 10,
	})
	if tally := report.Faults["purge"]; tally.Injected != 2 || tally.Proven != 2 || ended.Load() != 2 {
		t.Errorf("purge: %+v, it ended %d", tally, ended.Load())
	}
	if tally := report.Faults["kill"]; tally.Injected != 1 {
		t.Errorf("kill: %+v", tally)
	}
}
