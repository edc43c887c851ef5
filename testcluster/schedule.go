package testcluster

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Step is one fault of a schedule.
type Step struct {
	At    time.Duration // since the schedule began, with the first leader
	Fault string        // its name
	// On is the machine that it strikes: its name, or "leader", "follower", "node",
	// "client" for whoever that is then, or "all".
	On  string
	For time.Duration // until it is undone
}

// String is the step as ParseSchedule reads it, such as "12.5s leader kill 3s".
func (s Step) String() string { return fmt.Sprintf("%v %s %s %v", s.At, s.On, s.Fault, s.For) }

// What a step may name beside machines.
const (
	theLeader = "leader"
	aFollower = "follower"
	aNode     = "node"
	aClient   = "client"
	allNodes  = "all"
)

// roles are what a step may name that strikes such a target, beside machines.
func (t Target) roles() []string {
	switch t {
	case OnClient:
		return []string{aClient}
	case OnCluster:
		return []string{allNodes}
	}
	return []string{theLeader, aFollower, aNode}
}

// fits reports whether a step may strike what it names. Whether there is a machine
// of that name is seen when its time comes.
func fits(on string, roles []string) bool {
	everyRole := []string{theLeader, aFollower, aNode, aClient, allNodes}
	return slices.Contains(roles, on) || !slices.Contains(everyRole, on) && !slices.Contains(roles, allNodes)
}

// Schedule is a list of faults in order of time.
type Schedule []Step

// String is the schedule, a step a line.
func (s Schedule) String() string {
	var b strings.Builder
	for _, step := range s {
		fmt.Fprintln(&b, step)
	}
	return b.String()
}

// ParseSchedule reads what String writes. Empty lines and those that begin with #
// are passed over.
func ParseSchedule(text string) (Schedule, error) {
	var s Schedule
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		step, err := parseStep(line)
		if err != nil {
			return nil, fmt.Errorf("schedule, line %d, %q: %w", number+1, line, err)
		}
		s = append(s, step)
	}
	slices.SortStableFunc(s, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
	return s, nil
}

func parseStep(line string) (Step, error) {
	fields := strings.Fields(line)
	if len(fields) != 4 {
		return Step{}, fmt.Errorf("want AT MACHINE FAULT FOR, such as %q", Step{12 * time.Second, "kill", "leader", 3 * time.Second})
	}
	at, err := time.ParseDuration(fields[0])
	if err != nil {
		return Step{}, err
	}
	length, err := time.ParseDuration(fields[3])
	if err != nil {
		return Step{}, err
	}
	if at < 0 || length < 0 {
		return Step{}, errors.New("times must not be negative")
	}
	return Step{At: at, On: fields[1], Fault: fields[2], For: length}, nil
}

// DrawSchedule draws faults from a seed: the same for the same arguments. They come
// for as long as length, one on average every gap, which is a millisecond at least;
// each comes up as often as the others. No faults make an empty schedule.
func DrawSchedule(seed uint64, length, gap time.Duration, faults []Fault) Schedule {
	chance := rand.New(rand.NewPCG(seed, 4))
	var s Schedule
	if gap = max(gap, time.Millisecond); len(faults) == 0 {
		return s
	}
	var deck []Fault
	for at := gap / 2; at < length; at += time.Duration(float64(gap) * chance.ExpFloat64()) {
		if len(deck) == 0 { // each once before any comes again
			deck = slices.Clone(faults)
			chance.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		f := deck[0]
		deck = deck[1:]
		step := Step{At: at.Round(time.Millisecond), Fault: f.Name, On: drawTarget(chance, f.On), For: f.MinFor}
		if spread := f.MaxFor - f.MinFor; spread > 0 {
			step.For += time.Duration(chance.Int64N(int64(spread))).Round(time.Millisecond)
		}
		s = append(s, step)
	}
	return s
}

// drawTarget prefers leaders, which is where it hurts.
func drawTarget(chance *rand.Rand, on Target) string {
	switch on {
	case OnClient:
		return aClient
	case OnCluster:
		return allNodes
	}
	return []string{theLeader, theLeader, aFollower, aNode}[chance.IntN(4)]
}
