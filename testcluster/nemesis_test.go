package testcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// wounds notes what faults of a test strike, and when.
type wounds struct {
	t  *testing.T
	mu sync.Mutex
	on map[string]string // fault, by machine: open now
}

// fault returns one that does nothing but be noted, and must be alone on its machine.
func (w *wounds) fault(name string, on Target) Fault {
	return Fault{Name: name, On: on, Inject: func(_ *Cluster, machine string, _ *rand.Rand) Injury {
		w.mu.Lock()
		defer w.mu.Unlock()
		for other, by := range w.on {
			if other == machine || other == allNodes || machine == allNodes {
				w.t.Errorf("%s strikes %s while %s strikes %s", name, machine, by, other)
			}
		}
		w.on[machine] = name
		return Injury{Undo: func() error {
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.on, machine)
			return nil
		}}
	}}
}

func (w *wounds) open() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.on)
}

// carriesOut runs a schedule of faults on a cluster in virtual time to its end, or
// until stop.
func carriesOut(t *testing.T, schedule string, stop time.Duration, faults func(w *wounds) []Fault, then func(n *nemesis, took time.Duration)) {
	t.Helper()
	steps, err := ParseSchedule(schedule)
	if err != nil {
		t.Fatal(err)
	}
	Run(t, Options{ElectionTimeout: 2 * time.Second}, func(t *testing.T, c *Cluster) {
		c.Leader()
		c.Client()
		c.Client()
		w := &wounds{t: t, on: map[string]string{}}
		n := newNemesis(c, faults(w), 1, func(string) {})
		if err := n.check(steps); err != nil {
			t.Fatal(err)
		}
		over := make(chan struct{})
		timer := time.AfterFunc(stop, func() { close(over) })
		defer timer.Stop()
		began := time.Now()
		n.run(steps, over)
		took := time.Since(began)
		if w.open() > 0 {
			t.Errorf("not undone: %v", w.on)
		}
		then(n, took)
	})
}

func TestNemesis(t *testing.T) {
	plain := func(w *wounds) []Fault {
		return []Fault{w.fault("cut", OnNode), w.fault("bruise", OnNode), w.fault("flu", OnCluster), w.fault("worry", OnClient)}
	}
	for _, c := range []struct {
		name     string
		schedule string
		stop     time.Duration
		want     string        // tallies
		took     time.Duration // until all was undone
		errs     int
	}{
		{name: "nothing", want: "", took: 0},
		{name: "one after the other", schedule: "1s n1 cut 2s\n4s n1 bruise 2s\n7s all flu 1s", want: "cut 1 bruise 1 flu 1", took: 8 * time.Second},
		{name: "on different machines at once", schedule: "1s n1 cut 5s\n2s n2 cut 5s\n3s c1 worry 5s", want: "cut 2 worry 1", took: 8 * time.Second},
		{name: "never two on one machine", schedule: "1s n1 cut 5s\n2s n1 bruise 1s\n3s n1 cut 1s", want: "cut 1/1 bruise 0/1", took: 6 * time.Second},
		{name: "nothing beside what strikes all", schedule: "1s all flu 5s\n2s n1 cut 1s\n3s c1 worry 1s\n7s n1 cut 1s", want: "flu 1 cut 1/1 worry 0/1", took: 8 * time.Second},
		{name: "what strikes all waits for nobody", schedule: "1s c2 worry 5s\n2s all flu 1s", want: "worry 1 flu 0/1", took: 6 * time.Second},
		{name: "roles", schedule: "1s leader cut 1s\n3s follower cut 1s\n5s node cut 1s\n7s client worry 1s", want: "cut 3 worry 1", took: 8 * time.Second},
		{name: "stopped, it undoes what is open and begins nothing", schedule: "1s n1 cut 1h\n2s n2 bruise 1h\n20s n3 cut 1s", stop: 10 * time.Second, want: "cut 1 bruise 1", took: 10 * time.Second},
		{name: "machines that there are not", schedule: "1s n9 cut 1s\n2s c9 worry 1s\n3s c1 cut 1s", want: "cut 0/2 worry 0/1", took: 3 * time.Second, errs: 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.stop == 0 {
				c.stop = time.Hour
			}
			carriesOut(t, c.schedule, c.stop, plain, func(n *nemesis, took time.Duration) {
				if got := tallied(n, c.want); got != c.want {
					t.Errorf("tallies: %s, want %s", got, c.want)
				}
				if len(n.errs) != c.errs {
					t.Errorf("errors: %v", n.errs)
				}
				if took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
			})
		})
	}
}

// tallied is how often each fault that is asked for struck, and how often it was
// passed over.
func tallied(n *nemesis, like string) string {
	var parts []string
	for i, word := range strings.Fields(like) {
		if i%2 == 1 {
			continue
		}
		text := fmt.Sprintf("%s %d", word, n.tallies[word].Injected)
		if passed := n.tallies[word].Passed; passed > 0 {
			text += fmt.Sprintf("/%d", passed)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}

// Steps whose fault does not apply when their time comes are passed over, and counted.
func TestANemesisCountsWhatDoesNotApply(t *testing.T) {
	t.Parallel()
	never := Fault{Name: "never", Applies: func(*Cluster, string) bool { return false }, Inject: func(*Cluster, string, *rand.Rand) Injury {
		t.Error("it was injected, and does not apply")
		return Injury{}
	}}
	kill, err := FaultNamed("kill")
	if err != nil {
		t.Fatal(err)
	}
	faults := func(*wounds) []Fault { return []Fault{never, kill} }
	carriesOut(t, "1s n1 never 1s\n2s n1 kill 5s\n3s n2 kill 5s\n4s n1 kill 5s\n20s n2 kill 5s", time.Hour, faults, func(n *nemesis, _ time.Duration) {
		if got, want := tallied(n, "never 0 kill 0"), "never 0/1 kill 2/2"; got != want {
			t.Errorf("tallies: %s, want %s", got, want)
		}
		if n.tallies["kill"].Proven != 2 || n.tallies["never"].Proven != 0 {
			t.Errorf("proven: kill %d, never %d", n.tallies["kill"].Proven, n.tallies["never"].Proven)
		}
	})
}

// What cannot be mended is told; what has no proof is not proven.
func TestANemesisTellsWhatWentWrong(t *testing.T) {
	t.Parallel()
	injury := func(i Injury) func(*Cluster, string, *rand.Rand) Injury {
		return func(*Cluster, string, *rand.Rand) Injury { return i }
	}
	faults := func(*wounds) []Fault {
		return []Fault{
			{Name: "incurable", Inject: injury(Injury{Undo: func() error { return errors.New("no cure is known") }, Proof: happened("it spread")})},
			{Name: "idle", Inject: injury(Injury{Undo: undone, Proof: happened("")})},
			{Name: "bare", Inject: injury(Injury{})},
		}
	}
	carriesOut(t, "1s n1 incurable 1s\n3s n1 idle 1s\n5s n1 bare 1s", time.Hour, faults, func(n *nemesis, _ time.Duration) {
		if len(n.errs) != 1 || n.errs[0].Error() != "undoing incurable on n1: no cure is known" {
			t.Errorf("errors: %v", n.errs)
		}
		for name, want := range map[string]Tally{"incurable": {Injected: 1, Proven: 1}, "idle": {Injected: 1}, "bare": {Injected: 1}} {
			if got := *n.tallies[name]; got != want {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
	})
}

// When it is over every node runs, also one that ended after its fault was undone.
func TestANemesisLeavesEveryNodeRunning(t *testing.T) {
	t.Parallel()
	forgetful := Fault{Name: "forgetful", Inject: func(c *Cluster, on string, _ *rand.Rand) Injury {
		c.Kill(on)
		return Injury{}
	}}
	Run(t, Options{}, func(t *testing.T, c *Cluster) {
		n := newNemesis(c, []Fault{forgetful}, 1, func(string) {})
		n.run(Schedule{{At: time.Second, On: aFollower, Fault: "forgetful"}, {At: 5 * time.Second, On: theLeader, Fault: "forgetful"}}, nil)
		for _, id := range c.IDs() {
			if c.Node(id) == nil {
				t.Errorf("%s does not run", id)
			}
		}
	})
}

func TestANemesisRefusesWhatCannotBeCarriedOut(t *testing.T) {
	inject := func(*Cluster, string, *rand.Rand) Injury { return Injury{} }
	good := []Fault{{Name: "cut", Inject: inject}, {Name: "flu", On: OnCluster, Inject: inject}, {Name: "worry", On: OnClient, Inject: inject}}
	for _, c := range []struct {
		name     string
		schedule string
		faults   []Fault
		want     string // nothing if it is accepted
	}{
		{name: "a node by its name", schedule: "1s n1 cut 1s"},
		{name: "a client by its name", schedule: "1s c1 worry 1s"},
		{name: "roles", schedule: "1s leader cut 1s\n1s follower cut 1s\n1s node cut 1s\n1s client worry 1s\n1s all flu 1s"},
		{name: "an unknown fault", schedule: "1s n1 cut 1s\n12s leader plague 3s", want: `schedule: "12s leader plague 3s": there is no fault called "plague"`},
		{name: "all, for one", schedule: "1s all cut 1s", want: `cut does not strike "all", but leader, follower, node`},
		{name: "a client, for a node", schedule: "1s client cut 1s", want: `cut does not strike "client"`},
		{name: "the leader, for a client", schedule: "1s leader worry 1s", want: `worry does not strike "leader", but client`},
		{name: "one, for all", schedule: "1s n1 flu 1s", want: `flu does not strike "n1", but all`},
		{name: "two of one name", faults: []Fault{{Name: "cut", Inject: inject}, {Name: "cut", Inject: inject}}, want: `two faults called "cut"`},
		{name: "two words", faults: []Fault{{Name: "deep cut", Inject: inject}}, want: `fault "deep cut": its name must be one word`},
		{name: "no name", faults: []Fault{{Inject: inject}}, want: "its name must be one word"},
		{name: "nothing to inject", faults: []Fault{{Name: "cut"}}, want: "fault cut: it has no Inject"},
		{name: "backwards", faults: []Fault{{Name: "cut", Inject: inject, MinFor: time.Second}}, want: "fault cut: it lasts from 1s to 0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			steps, err := ParseSchedule(c.schedule)
			if err != nil {
				t.Fatal(err)
			}
			if c.faults == nil {
				c.faults = good
			}
			err = newNemesis(nil, c.faults, 1, nil).check(steps)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %s", err, c.want)
			}
		})
	}
}
