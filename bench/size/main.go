//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	only     []string // parts; empty: all
	holds    int
	handles  int
	window   time.Duration
	rounds   int
	failover int
	out      string
	dir      string
	semanode string
}

// parts in their order.
var parts = []string{"state", "latency", "snapshot", "away", "failover", "handles", "touch"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it on the spot
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	d, err := measure(ctx, o, stderr)
	if err != nil {
		return err
	}
	text, err := d.markdown()
	if err != nil {
		return err
	}
	if o.out == "" {
		_, err = stdout.Write(text)
	} else {
		err = os.WriteFile(o.out, text, 0o644)
	}
	if n := len(d.Failures); n > 0 && err == nil {
		err = fmt.Errorf("%d measurements failed:\n%s", n, strings.Join(d.Failures, "\n"))
	}
	return err
}

func parse(args []string, usage io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("size", flag.ContinueOnError)
	flags.SetOutput(usage)
	only := flags.String("only", "", "what to measure, of "+strings.Join(parts, ",")+"; all if empty")
	flags.IntVar(&o.holds, "holds", 1_000_000, "how many are many")
	flags.IntVar(&o.handles, "handles", 100_000, "locks that one client keeps alive")
	flags.DurationVar(&o.window, "window", 90*time.Second, "how long locks are kept alive while it is measured")
	flags.IntVar(&o.rounds, "rounds", 5, "how often latency is measured")
	flags.IntVar(&o.failover, "failover", 5, "how often each leader is killed")
	flags.StringVar(&o.out, "out", "../docs/size.md", "document to write; empty: print it")
	flags.StringVar(&o.dir, "dir", os.TempDir(), "where the data goes: not a file system in memory")
	flags.StringVar(&o.semanode, "semanode", "", "binary to measure; built from the repository if empty")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.only = strings.FieldsFunc(*only, func(r rune) bool { return r == ',' || r == ' ' })
	return o, o.validate(flags.Args())
}

// validate reports every fault.
func (o options) validate(rest []string) error {
	var faults []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	check(len(rest) == 0, "unexpected arguments %q", rest)
	for _, part := range o.only {
		check(slices.Contains(parts, part), "-only: no part %q", part)
	}
	check(o.holds >= 2000, "-holds %d: want 2000 or more", o.holds)
	check(o.handles >= 1, "-handles %d: want 1 or more", o.handles)
	check(o.window >= time.Second, "-window %v: want 1s or more", o.window)
	check(o.rounds >= 1, "-rounds %d: want 1 or more", o.rounds)
	check(o.failover >= 1, "-failover %d: want 1 or more", o.failover)
	if o.out != "" { // now, and not in a quarter of an hour
		_, err := os.Stat(filepath.Dir(o.out))
		check(err == nil, "-out: %w", err)
	}
	return errors.Join(faults...)
}

func (o options) wants(part string) bool { return len(o.only) == 0 || slices.Contains(o.only, part) }
