package testcluster_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/testcluster"
)

// inBubble runs a test in virtual time, beside others.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

func TestOptionsThatAreRefused(t *testing.T) {
	type options = testcluster.Options
	for _, c := range []struct {
		name string
		opts options
		want []string
	}{
		{"too few nodes", options{Nodes: -1}, []string{"Nodes", "-1", "1 to 9"}},
		{"too many nodes", options{Nodes: 10}, []string{"Nodes", "10", "1 to 9"}},
		{"negative latency", options{MinLatency: -time.Second}, []string{"latency from -1s to 0s", "negative"}},
		{"latency backwards", options{MinLatency: time.Second, MaxLatency: time.Millisecond}, []string{"latency from 1s to 1ms"}},
		{"no latency at its end", options{MinLatency: time.Second}, []string{"latency from 1s to 0s"}},
		{"negative election timeout", options{ElectionTimeout: -time.Second}, []string{"election-timeout", "-1s"}},
		{"short election timeout", options{ElectionTimeout: time.Millisecond}, []string{"election-timeout", "1ms"}},
		{"a configuration that was spoilt", options{Tune: func(cfg *cluster.Config) { cfg.WatchdogTimeout = -1 }}, []string{"node n1", "watchdog-timeout"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				overhear(t, func(tb testing.TB) { testcluster.New(tb, c.opts) }).hasFailed(t, c.want...)
			})
		})
	}
}

func TestOptions(t *testing.T) {
	t.Run("one node", func(t *testing.T) {
		t.Parallel()
		testcluster.Run(t, testcluster.Options{Nodes: 1}, func(t *testing.T, c *testcluster.Cluster) {
			serves(t, c.Client().Client)
		})
	})
	t.Run("five nodes, of which two may go", func(t *testing.T) {
		t.Parallel()
		testcluster.Run(t, testcluster.Options{Nodes: 5}, func(t *testing.T, c *testcluster.Cluster) {
			cl := c.Client()
			for range 2 {
				c.Kill(c.Leader().ID())
				serves(t, cl.Client)
			}
			c.Kill(c.Leader().ID())
			serveless(t, cl.Client)
		})
	})
	t.Run("the seed that was given", func(t *testing.T) {
		t.Parallel()
		testcluster.Run(t, testcluster.Options{Nodes: 1, Seed: 42}, func(t *testing.T, c *testcluster.Cluster) {
			if c.Seed() != 42 {
				t.Errorf("seed %d", c.Seed())
			}
		})
	})
	t.Run("latency", func(t *testing.T) {
		t.Parallel()
		far := testcluster.Options{Nodes: 1, MinLatency: 50 * time.Millisecond, MaxLatency: 50 * time.Millisecond}
		testcluster.Run(t, far, func(t *testing.T, c *testcluster.Cluster) {
			cl := c.Client()
			serves(t, cl.Client)
			began := time.Now()
			acquired(t, cl, "s")
			if took := time.Since(began); took < 100*time.Millisecond || took > 150*time.Millisecond {
				t.Errorf("a call there and back over 50 ms took %v", took)
			}
		})
	})
	t.Run("each node is tuned", func(t *testing.T) {
		t.Parallel()
		var tuned []string
		tune := func(cfg *cluster.Config) { tuned = append(tuned, cfg.ID) }
		testcluster.Run(t, testcluster.Options{Nodes: 2, Tune: tune}, func(t *testing.T, c *testcluster.Cluster) {
			if got := strings.Join(tuned, " "); got != "n1 n2" {
				t.Errorf("tuned were %s", got)
			}
		})
	})
}

// Outside of a bubble time is real.
func TestAClusterInRealTime(t *testing.T) {
	t.Parallel()
	c := testcluster.New(t, testcluster.Options{ElectionTimeout: 50 * time.Millisecond})
	cl := c.Client()
	hold := acquired(t, cl, "s")
	old := c.Leader().ID()
	c.Kill(old)
	leaderIsNot(c, old)
	stillHeld(t, cl.Client, hold)
	c.Start(old)
	serves(t, cl.Client)
}

// On files, with each log store; the empty one is what nodes use otherwise.
func TestWhatIsOnDiskStays(t *testing.T) {
	t.Parallel()
	for _, store := range []cluster.LogStore{"", cluster.WAL, cluster.BoltDB} {
		t.Run(string(store), func(t *testing.T) {
			t.Parallel()
			testcluster.Run(t, testcluster.Options{OnDisk: true, LogStore: store}, func(t *testing.T, c *testcluster.Cluster) {
				hold := acquired(t, c.Client(), "s")
				for _, id := range c.IDs() {
					c.Kill(id)
				}
				for _, id := range c.IDs() {
					c.Restart(id) // from files alone
				}
				stillHeld(t, c.Client().Client, hold)
			})
		})
	}
}

func TestLogsAreShownWhenATestFails(t *testing.T) {
	const line = "entering follower state" // raft's, when a node starts
	for _, c := range []struct {
		name  string
		fail  bool
		level hclog.Level
		shown bool
	}{
		{"passed", false, 0, false},
		{"failed", true, 0, true},
		{"failed, for warnings only", true, hclog.Warn, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				o := overhear(t, func(tb testing.TB) {
					serves(tb, testcluster.New(tb, testcluster.Options{Seed: 42, LogLevel: c.level}).Client().Client)
					if c.fail {
						tb.Error("on purpose")
					}
				})
				if got := strings.Contains(o.text(), line); got != c.shown {
					t.Errorf("logs shown: %v, want %v:\n%s", got, c.shown, o.text())
				}
				if !c.fail && o.text() != "" {
					t.Errorf("a test that passed said:\n%s", o.text())
				}
				if c.shown {
					o.hasFailed(t, "seed 42", "n1", "n2", "n3")
				}
			})
		})
	}
}
