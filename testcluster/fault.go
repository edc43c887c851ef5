package testcluster

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Fault is something that happens to a cluster: a value, so that a test can name
// it, a schedule can list it, and users can add their own to [Faults].
type Fault struct {
	Name  string // one word, for schedules
	About string // one line, for people
	// On says what it strikes.
	On Target
	// MinFor and MaxFor bound how long a nemesis lets it last.
	MinFor, MaxFor time.Duration
	// Applies reports whether it can strike now. Nil: it always can.
	Applies func(c *Cluster, on string) bool
	// Inject makes it happen. on is the machine that it strikes; what else is left
	// to chance is drawn from chance.
	Inject func(c *Cluster, on string, chance *rand.Rand) Injury
}

// Injury is a fault that was injected.
type Injury struct {
	// Undo mends it. A nemesis does nothing if it is nil.
	Undo func() error
	// Proof tells what it did so far, such as "held 12 messages"; nothing if it
	// did nothing. For a nemesis nil is nothing.
	Proof func() string
}

// Target is what a fault strikes.
type Target int

// What a fault strikes.
const (
	OnNode    Target = iota // one machine with a node
	OnClient                // one machine with a client
	OnCluster               // all nodes
)

// validate reports what keeps a fault from being listed in a schedule or injected.
func (f Fault) validate() error {
	switch {
	case len(strings.Fields(f.Name)) != 1 || strings.TrimSpace(f.Name) != f.Name:
		return fmt.Errorf("fault %q: its name must be one word", f.Name)
	case f.Inject == nil:
		return fmt.Errorf("fault %s: it has no Inject", f.Name)
	case f.MinFor < 0 || f.MaxFor < f.MinFor:
		return fmt.Errorf("fault %s: it lasts from %v to %v: that must not be negative, nor its end before its beginning", f.Name, f.MinFor, f.MaxFor)
	}
	return nil
}

// Inject makes a fault strike a machine now, "" if it strikes the cluster. The
// caller undoes it. It fails the test if the fault does not apply, or not to such a
// machine.
func (c *Cluster) Inject(f Fault, on string) Injury {
	c.tb.Helper()
	if err := c.strikable(f, on); err != nil {
		c.tb.Fatal(err)
	}
	if f.Applies != nil && !f.Applies(c, on) {
		c.tb.Fatalf("fault %s does not apply to %q now", f.Name, on)
	}
	return f.Inject(c, on, rand.New(rand.NewPCG(c.opts.Seed, 3)))
}

// Faults returns all that this package knows, in a fixed order.
func Faults() []Fault {
	var all []Fault
	for _, group := range [][]Fault{networkFaults(), linkFaults(), messageFaults(), processFaults(), clockFaults(), diskFaults(), memberFaults(), clientFaults()} {
		all = append(all, group...)
	}
	return all
}

// strikable reports why a machine is not one that a fault strikes.
func (c *Cluster) strikable(f Fault, on string) error {
	switch {
	case f.On == OnNode && !c.isNode(on):
		return fmt.Errorf("fault %s strikes a node, and there is no node %q; there are %v", f.Name, on, c.IDs())
	case f.On == OnClient && c.clientNamed(on) == nil:
		return fmt.Errorf("fault %s strikes a client, and there is no client %q", f.Name, on)
	}
	return nil
}

// FaultNamed returns one of Faults.
func FaultNamed(name string) (Fault, error) {
	for _, f := range Faults() {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("there is no fault called %q", name)
}

// spared reports whether a node serves, and may be taken away without taking the
// majority away: those that are well, and have a vote.
func spared(c *Cluster, on string) bool {
	left := 0
	for _, m := range c.machines {
		switch {
		case m.id == on && !m.serves():
			return false
		case m.id != on && m.well():
			left++
		}
	}
	return left >= len(c.machines)/2+1
}

// allWell reports whether every node is well.
func allWell(c *Cluster, _ string) bool {
	for _, m := range c.machines {
		if !m.well() {
			return false
		}
	}
	return true
}

// did is a proof by counting; nothing if nothing was counted.
func did(what string, count func() int64) func() string {
	return func() string {
		if n := count(); n > 0 {
			return fmt.Sprintf("%s %d", what, n)
		}
		return ""
	}
}

// happened is the proof of what happened at once or not at all.
func happened(what string) func() string { return func() string { return what } }

// lifting is an undo that cannot fail.
func lifting(lifts ...func()) func() error {
	return func() error {
		for _, lift := range lifts {
			lift()
		}
		return nil
	}
}

// undone is the undo of what needs none.
func undone() error { return nil }
