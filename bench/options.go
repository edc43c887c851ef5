//go:build unix

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/semanode/sema/internal/load"
)

// options are the command line.
type options struct {
	only      []string // peers; empty: all
	workloads []load.Mode
	workers   []int
	waiters   int
	duration  time.Duration
	warmup    time.Duration
	rounds    int
	failover  int
	out       string
	dir       string
	semanode  string
	semaFlags []string
	render    bool
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	only := flags.String("only", "", "peers, of sema,etcd,redis,postgres; all if empty")
	workloads := flags.String("workloads", "cycle,handoff,poll", "what to measure")
	workers := flags.String("workers", "1,64,256,1024", "numbers of workers for cycle")
	flags.IntVar(&o.waiters, "waiters", 64, "workers for handoff and poll")
	flags.DurationVar(&o.duration, "duration", 5*time.Second, "of each measurement")
	flags.DurationVar(&o.warmup, "warmup", time.Second, "before each measurement")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each is measured")
	flags.IntVar(&o.failover, "failover", 20, "how often a leader is killed, and how often stopped; 0: never")
	flags.StringVar(&o.out, "out", "../docs/benchmarks.md", "document to write, its drawings and JSON beside it; empty: print it only")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "where the data goes: not a file system in memory")
	flags.StringVar(&o.semanode, "semanode", "", "binary to measure; built from the repository if empty")
	semaFlags := flags.String("sema-flags", "", "flags to add to semanode serve")
	flags.BoolVar(&o.render, "render", false, "measure nothing, write the document again")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	o.only, o.semaFlags = words(*only), strings.Fields(*semaFlags)
	for _, w := range words(*workloads) {
		o.workloads = append(o.workloads, load.Mode(w))
	}
	for _, w := range words(*workers) {
		n, err := strconv.Atoi(w)
		if err != nil {
			return o, fmt.Errorf("-workers: %w", err)
		}
		o.workers = append(o.workers, n)
	}
	return o, o.validate()
}

// words splits a list at its commas.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// validate reports every fault.
func (o options) validate() error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	for _, name := range o.only {
		check(slices.Contains([]string{"sema", "etcd", "redis", "postgres"}, name), "-only: no peer %q", name)
	}
	for _, w := range o.workloads {
		check(slices.Contains([]load.Mode{load.Cycle, load.Handoff, load.Poll}, w), "-workloads: no workload %q", w)
	}
	for _, n := range append([]int{o.waiters}, o.workers...) {
		check(n >= 1 && n <= load.MaxWorkers, "%d workers: want 1 to %d", n, load.MaxWorkers)
	}
	check(o.duration > 0, "-duration %v: want more than 0", o.duration)
	check(o.warmup >= 0, "-warmup %v: want 0 or more", o.warmup)
	check(o.rounds >= 1, "-rounds %d: want 1 or more", o.rounds)
	check(o.failover >= 0, "-failover %d: want 0 or more", o.failover)
	check(!o.render || o.out != "", "-render needs -out")
	if o.out != "" { // now, and not in half an hour
		_, err := os.Stat(filepath.Dir(o.out))
		check(err == nil, "-out: %w", err)
	}
	return errors.Join(faults...)
}

func (o options) wants(peer string) bool { return len(o.only) == 0 || slices.Contains(o.only, peer) }
