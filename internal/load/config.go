package load

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/semanode/sema"
)

// The limits of [Config].
const (
	MaxWorkers  = 100_000
	MaxDuration = 24 * time.Hour
	MaxRate     = 1_000_000 // units per second
)

// DefaultPatience is that of [Config].
const DefaultPatience = 10 * time.Second

// Config says what load to put on. Mode, Workers and Duration must be set.
type Config struct {
	Mode    Mode
	Workers int
	// Duration is that of the measurement, 24 h at most.
	Duration time.Duration
	// Warmup is time before it in which all goes as later and nothing counts.
	Warmup time.Duration
	// Rate is how many units are due per second, over all workers. Zero: each
	// worker as fast as it goes.
	Rate float64
	// Prefix is what all names begin with. No two runs may share one. A new one, of
	// [NewPrefix], if empty.
	Prefix string
	// Patience bounds the set-up, what is under way at the end, and the clean-up:
	// each of them. 10 s if zero.
	Patience time.Duration
	// Progress, if set, is told about once a second how it goes, by the goroutine
	// that called Run.
	Progress func(Progress)
}

// Progress is how a run goes.
type Progress struct {
	Elapsed   time.Duration // since the load began
	Warmup    bool          // nothing counts yet
	Cycles    int64         // units that finished, those of the warm-up too
	PerSecond float64       // of them, since the last Progress
	Errors    int64         // units that failed, likewise
	Backlog   int64         // units that are due and have not begun
}

// NewPrefix returns a prefix that nobody had before.
func NewPrefix() string { return "bench/" + strings.ToLower(rand.Text()[:12]) }

// Validate reports every fault, joined; each is a [sema.InvalidError].
func (c Config) Validate() error {
	var faults []error
	check := func(ok bool, field, value, limit string) {
		if !ok {
			faults = append(faults, &sema.InvalidError{Field: field, Value: value, Limit: limit})
		}
	}
	check(slices.Contains(Modes(), c.Mode), "mode", string(c.Mode), list(Modes()))
	check(c.Workers >= 1 && c.Workers <= MaxWorkers, "workers", strconv.Itoa(c.Workers), fmt.Sprintf("1 to %d", MaxWorkers))
	check(c.Duration > 0 && c.Duration <= MaxDuration, "duration", c.Duration.String(), fmt.Sprintf("more than 0, at most %v", MaxDuration))
	check(c.Warmup >= 0 && c.Warmup <= MaxDuration, "warmup", c.Warmup.String(), fmt.Sprintf("0 to %v", MaxDuration))
	check(!math.IsNaN(c.Rate) && c.Rate >= 0 && c.Rate <= MaxRate, "rate", strconv.FormatFloat(c.Rate, 'g', -1, 64),
		fmt.Sprintf("0 (as fast as they go) to %d units per second", MaxRate))
	check(c.Patience >= 0 && c.Patience <= MaxDuration, "patience", c.Patience.String(), fmt.Sprintf("0 (%v) to %v", DefaultPatience, MaxDuration))
	if c.Prefix != "" {
		check(sema.ValidateName(keptName(c.Prefix, MaxWorkers)) == nil, "prefix", c.Prefix, "what a name may begin with, and 16 bytes of it left")
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = NewPrefix()
	}
	if c.Patience == 0 {
		c.Patience = DefaultPatience
	}
	return c
}

func list(modes []Mode) string {
	words := make([]string, len(modes))
	for i, m := range modes {
		words[i] = string(m)
	}
	return strings.Join(words, " or ")
}

// The names of a run.
func ownName(prefix string, worker int) string  { return fmt.Sprintf("%s/%d", prefix, worker) }
func keptName(prefix string, worker int) string { return ownName(prefix, worker) + "/kept" }
func sharedName(prefix string) string           { return prefix + "/shared" }
