//go:build sabotage

package testcluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/internal/sabotage"
)

// TestSabotageIsCaught breaks one promise after the other and passes if a verdict
// fails: `go test -tags sabotage -run Sabotage ./testcluster`, or `make sabotage`.
func TestSabotageIsCaught(t *testing.T) {
	for _, c := range []struct {
		name   string
		what   sabotage.Break
		disk   bool     // no fsync
		far    bool     // the clients are 100 to 150 ms away
		free   bool     // so many semaphores that most are free
		faults []string // all if empty
		caught []string // by one of these verdicts at least
	}{
		{name: "expiry one second early", what: sabotage.EarlyExpiry, caught: []string{"nothing lost", "exclusion", "told in time"}},
		{name: "a new leader stamps from its own wall clock", what: sabotage.WallClock, faults: []string{"wall-jump", "kill", "isolate"}, caught: []string{"nothing lost", "exclusion", "told in time"}},
		{name: "time without a leader makes holds older", what: sabotage.TimeTaken, caught: []string{"time given"}},
		{name: "a token reset on restore", what: sabotage.TokenReset, caught: []string{"tokens rise", "replicas equal"}},
		{name: "a retry that acquires twice", what: sabotage.RetryAcquires, free: true, faults: []string{"lost-answers", "late-copies", "overtaken"}, caught: []string{"genuine", "linearizable"}},
		{name: "a stale read sold as a fresh one", what: sabotage.StaleReads, caught: []string{"linearizable"}},
		{name: "a release that ignores the token", what: sabotage.AnyRelease, caught: []string{"nothing lost", "exclusion", "linearizable"}},
		{name: "holds last twenty times as long as was asked", what: sabotage.LongHolds, caught: []string{"by the log"}},
		{name: "nobody ends a hold that others wait for", what: sabotage.NoExpiry, free: true, faults: []string{"client-isolated", "client-paused"}, caught: []string{"by the log"}},
		{name: "heads of lines are thrown away", what: sabotage.LostTicket, caught: []string{"by the log"}},
		{name: "who released is told that it held nothing", what: sabotage.DeniedRelease, caught: []string{"by the log"}},
		{name: "a lock counts its deadline from the answer", what: sabotage.LateLeash, far: true,
			faults: []string{"clock-fast", "client-isolated", "client-paused"}, caught: []string{"by the log", "exclusion", "told in time"}},
		{name: "a lock leaves no margin for clocks that drift", what: sabotage.NoMargin,
			faults: []string{"clock-fast", "client-isolated", "client-paused"}, caught: []string{"by the log", "exclusion", "told in time"}},
		{name: "a line that forgets its order on failover", what: sabotage.LineForgotten, caught: []string{"first come, first served"}},
		{name: "an fsync left out", disk: true, faults: []string{"power-cut-all", "power-cut"}, caught: []string{"nothing lost", "linearizable", "tokens rise", "genuine"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sabotage.Set(c.what)
			defer sabotage.Set(sabotage.Nothing)
			for run := range 10 {
				verdicts := sabotaged(t, c.faults, c.disk, c.far, c.free)
				t.Logf("run %d: %s", run+1, strings.Join(verdicts, ", "))
				for _, v := range c.caught {
					if slices.Contains(verdicts, v) {
						return
					}
				}
			}
			t.Fatalf("none of %v noticed, ten times", c.caught)
		})
	}
}

// TestSabotageOfAcknowledgements: a leader that believes its followers before it has
// written loses a hold that was acknowledged.
func TestSabotageOfAcknowledgements(t *testing.T) {
	sabotage.Set(sabotage.EarlyAcks)
	defer sabotage.Set(sabotage.Nothing)
	Run(t, Options{}, func(t *testing.T, c *Cluster) {
		if acknowledged, known := ownLog(t, c); !acknowledged || known {
			t.Errorf("acknowledged %v, and known afterwards %v", acknowledged, known)
		}
	})
}

// TestSabotageOfLostVotes: a node that votes again on an empty disk makes a majority with
// one that has not heard of what was acknowledged.
func TestSabotageOfLostVotes(t *testing.T) {
	sabotage.Set(sabotage.LostVotes)
	defer sabotage.Set(sabotage.Nothing)
	Run(t, Options{}, func(t *testing.T, c *Cluster) {
		if elected, known := forgottenVotes(t, c); !elected || known {
			t.Errorf("the two others elected a leader: %v; the hold is known: %v", elected, known)
		}
	})
}

// TestNothingIsCaught is the other side: the same build with nothing broken.
func TestSabotageOfNothingIsNotCaught(t *testing.T) {
	if verdicts := sabotaged(t, nil, false, false, false); len(verdicts) > 0 {
		t.Fatalf("with nothing broken: %v", verdicts)
	}
}

// sabotaged returns the verdicts that failed in ten virtual minutes.
func sabotaged(t *testing.T, names []string, noSync, far, free bool) []string {
	t.Helper()
	opts := ChaosOptions{Duration: 10 * time.Minute, Gap: 10 * time.Second, Options: Options{ElectionTimeout: time.Second},
		Workload: Workload{Semaphores: 2, Think: time.Second}}
	for _, name := range names {
		f, err := FaultNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		opts.Faults = append(opts.Faults, f)
	}
	if free {
		opts.Workload.Semaphores = 20
	}
	if far {
		opts.MinLatency, opts.MaxLatency = 100*time.Millisecond, 150*time.Millisecond
	}
	if noSync {
		opts.sabotage = func(c *Cluster) {
			for _, m := range c.machines {
				m.disk.ForgetSync(true)
			}
		}
	}
	report := chaos(t, opts)
	var verdicts []string
	for _, v := range report.Violations {
		if !slices.Contains(verdicts, v.Verdict) {
			verdicts = append(verdicts, v.Verdict)
		}
	}
	return verdicts
}
