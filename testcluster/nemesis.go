package testcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// nemesis carries out a schedule.
type nemesis struct {
	c      *Cluster
	faults map[string]Fault
	chance *rand.Rand // of the goroutine that runs
	log    func(text string)

	invalid error // faults that cannot be told apart, or injected

	mu      sync.Mutex
	struck  map[string]bool // what has an injury, see place
	tallies map[string]*Tally
	errs    []error
}

// Tally says how often a fault of one name was injected, and what came of it.
type Tally struct {
	Injected int
	Proven   int // did what it is named for
	Passed   int // did not apply when its time came
}

func newNemesis(c *Cluster, faults []Fault, seed uint64, log func(string)) *nemesis {
	n := &nemesis{c: c, faults: map[string]Fault{}, chance: rand.New(rand.NewPCG(seed, 5)), log: log,
		struck: map[string]bool{}, tallies: map[string]*Tally{}}
	for _, f := range faults {
		n.invalid = errors.Join(n.invalid, f.validate())
		if _, again := n.faults[f.Name]; again {
			n.invalid = errors.Join(n.invalid, fmt.Errorf("there are two faults called %q", f.Name))
		}
		n.faults[f.Name] = f
		n.tallies[f.Name] = new(Tally)
	}
	return n
}

// check reports faults and steps that cannot be carried out.
func (n *nemesis) check(s Schedule) error {
	if n.invalid != nil {
		return n.invalid
	}
	for _, step := range s {
		f, ok := n.faults[step.Fault]
		if !ok {
			return fmt.Errorf("schedule: %q: there is no fault called %q", step, step.Fault)
		}
		if roles := f.On.roles(); !fits(step.On, roles) {
			return fmt.Errorf("schedule: %q: %s does not strike %q, but %s", step, f.Name, step.On, strings.Join(roles, ", "))
		}
	}
	return nil
}

// run carries the schedule out and returns when every fault is undone. If stop is
// closed before, what is left is passed over.
func (n *nemesis) run(s Schedule, stop <-chan struct{}) {
	began := time.Now()
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		if err := n.c.revive(n.c.machines...); err != nil { // such as one that was about to end when its fault was undone
			n.failed(err)
		}
	}()
	for _, step := range s {
		select {
		case <-time.After(step.At - time.Since(began)):
		case <-stop:
			return
		}
		if undo := n.inject(step); undo != nil {
			wg.Go(func() {
				select {
				case <-time.After(step.For):
				case <-stop:
				}
				undo()
			})
		}
	}
}

// inject carries out one step, if it applies, and returns its end.
func (n *nemesis) inject(step Step) (end func()) {
	f := n.faults[step.Fault]
	on, ok := n.target(step.On)
	if ok {
		if err := n.c.strikable(f, on); err != nil {
			ok = false
			n.failed(fmt.Errorf("schedule: %q: %w", step, err))
		}
	}
	ok = ok && (f.Applies == nil || f.Applies(n.c, on))
	tally, ok := n.claim(f, on, ok)
	if !ok {
		return nil
	}
	n.log(fmt.Sprintf("fault: %s strikes %s", f.Name, on))
	injury := f.Inject(n.c, on, n.chance) // may take a while: no lock is held
	return func() {
		var err error
		if injury.Undo != nil {
			err = injury.Undo()
		}
		proof := ""
		if injury.Proof != nil {
			proof = injury.Proof()
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.struck, place(f, on))
		if err != nil {
			n.errs = append(n.errs, fmt.Errorf("undoing %s on %s: %w", f.Name, on, err))
		}
		if proof == "" {
			n.log(fmt.Sprintf("fault: %s on %s is over and did nothing", f.Name, on))
			return
		}
		tally.Proven++
		n.log(fmt.Sprintf("fault: %s on %s is over: %s", f.Name, on, proof))
	}
}

func (n *nemesis) failed(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.errs = append(n.errs, err)
}

// claim marks the machine as struck, if the fault applies and may strike it.
func (n *nemesis) claim(f Fault, on string, applies bool) (tally *Tally, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	tally = n.tallies[f.Name]
	if !applies || n.busy(f, on) {
		tally.Passed++
		return tally, false
	}
	tally.Injected++
	n.struck[place(f, on)] = true
	return tally, true
}

// busy reports whether something else is struck there already: faults do not add
// up on one node, so that each is undone as it was done.
func (n *nemesis) busy(f Fault, on string) bool {
	if f.On != OnCluster {
		return n.struck[place(f, on)] || n.struck[allNodes]
	}
	return len(n.struck) > 0
}

// place is where a fault is alone: on its machine or, with a client, where faults
// have nothing to do with each other and are worst together, among those of its name.
func place(f Fault, on string) string {
	if f.On == OnClient {
		return on + " " + f.Name
	}
	return on
}

// target resolves what a step strikes.
func (n *nemesis) target(on string) (string, bool) {
	pick := func(names []string) (string, bool) {
		if len(names) == 0 {
			return "", false
		}
		return names[n.chance.IntN(len(names))], true
	}
	leader := ""
	if l := n.c.leading(); l != nil {
		leader = l.ID()
	}
	switch on {
	case theLeader:
		return leader, leader != ""
	case aFollower:
		return pick(n.c.others(leader))
	case aNode:
		return pick(n.c.IDs())
	case aClient:
		var names []string
		for _, cl := range n.c.allClients() {
			names = append(names, cl.Name)
		}
		return pick(names)
	}
	return on, true
}
