package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/load"
	"github.com/semanode/sema/internal/tuning"
)

const benchHelp = `Bench puts a load on a cluster and tells how much of it the cluster bears, and
how long each piece takes. What all workers do, over and over, is the mode:

  cycle    acquire and release a semaphore of the worker's own
  handoff  wait in line for one semaphore that all want, and release it at once;
           the latency is that of the wait
  poll     try to acquire one semaphore that somebody else holds; be refused
  touch    touch a semaphore that the worker holds
  mixed    in turn: 4 cycles, 3 touches, 2 polls, 1 get of what is polled

Each of these is one cycle in cyclesPerSecond.

Without --rate a worker begins anew as soon as it is done. That shows the limit
of the cluster. It flatters the latency: while the cluster stands still, nobody
asks, and a stall is one bad value for each worker.

With --rate, cycles are due at fixed times, and the latency of each counts from
then, also when all workers were busy. That shows the latency for those who come
when they like: take a rate well below the limit and more workers than are ever
busy. What was due and had not begun at the end is told as unfinished, and is in
no latency.

The latency is in milliseconds: the median (p50), what 99 of 100 stay below
(p99) and the longest (max). What failed is counted under errors, and nowhere
else. What happens during --warmup is not counted.

The workers share one client, like the goroutines of a program, or --clients of
them. All names begin with "bench/" and something random, and everything is
released in the end. --rpc-timeout bounds the wait for the first answer, for
what is under way at the end, and for the release of everything.

Progress goes to stderr and the result to stdout. Ctrl-C ends it early, with the
result so far and exit code 1.`

func newBenchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure how much load a cluster bears",
		Long:  benchHelp,
		Example: `  semanode bench --workers 256 --duration 30s
  semanode bench --mode handoff --workers 64
  semanode bench --mode mixed --rate 2000 --workers 256 -o json | jq .p99Ms`,
		Args: cobra.NoArgs,
	}
	b := bench{mode: choice{string(load.Cycle), nil}}
	for _, mode := range load.Modes() {
		b.mode.among = append(b.mode.among, string(mode))
	}
	addChoice(cmd, &b.mode, "mode", "m", "`WHAT` the workers do")
	cmd.Flags().IntVarP(&b.config.Workers, "workers", "w", 64, fmt.Sprintf("how many work at once, 1 to %d", load.MaxWorkers))
	cmd.Flags().DurationVarP(&b.config.Duration, "duration", "d", 10*time.Second, "how long to measure, at most 24h")
	cmd.Flags().DurationVar(&b.config.Warmup, "warmup", 2*time.Second, "how long to work before that")
	cmd.Flags().Float64Var(&b.config.Rate, "rate", 0, "how `MANY` cycles are due per second, over all workers\n(default as fast as they go)")
	cmd.Flags().IntVar(&b.clients, "clients", 1, fmt.Sprintf("how many clients the workers share, 1 to %d", maxBenchClients))
	cmd.Flags().DurationVar(&b.hold, "timeout", sema.DefaultTimeout, "of the holds: when they end should this process die,\n100ms to 168h")
	cmd.Flags().IntVar(&b.processors, "processors", 0, "compute on `N` processors at once; 0: on half of those there are, or\nwhat $GOMAXPROCS says")
	cmd.Flags().BoolVarP(&b.quiet, "quiet", "q", false, "do not tell the progress")
	b.request = addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return b.run(cmd) }
	return cmd
}

// maxBenchClients bounds the connections that one command makes.
const maxBenchClients = 1000

// bench is one run of the command.
type bench struct {
	request *request
	config  load.Config
	mode    choice
	clients int
	hold    time.Duration // how long holds stand without a touch
	quiet   bool

	processors int // that the load computes on; 0: half of them
}

// validate reports every fault, joined.
func (b *bench) validate() error {
	var clients, patience error
	if b.clients < 1 || b.clients > min(max(b.config.Workers, 1), maxBenchClients) {
		clients = &sema.InvalidError{Field: "clients", Value: strconv.Itoa(b.clients), Limit: fmt.Sprintf("1 to %d, and no more than workers", maxBenchClients)}
	}
	if b.request.timeout <= 0 || b.request.timeout > load.MaxDuration {
		patience = &sema.InvalidError{Field: "rpc-timeout", Value: b.request.timeout.String(), Limit: fmt.Sprintf("more than 0, at most %v", load.MaxDuration)}
	}
	return errors.Join(b.config.Validate(), clients, validateProcessors(b.processors), sema.ValidateTimeout(b.hold), patience)
}

// run measures and prints the result, also if ctx ended before it was complete.
func (b *bench) run(cmd *cobra.Command) (err error) {
	b.config.Mode, b.config.Prefix = load.Mode(b.mode.value), load.NewPrefix()
	if err := b.validate(); err != nil {
		return err
	}
	b.config.Patience = b.request.timeout
	tuning.Processors(b.processors)
	tuning.HeapFloor()
	clients, err := b.connectAll(cmd.Context())
	defer func() {
		for _, c := range clients {
			err = errors.Join(err, c.Close())
		}
	}()
	if err != nil {
		return err
	}
	if !b.quiet {
		t := newTeller(cmd.ErrOrStderr())
		defer t.close()
		b.config.Progress = func(p load.Progress) { t.say(b.progressLine(p)) }
	}
	result, err := load.Run(cmd.Context(), b.config, func(worker int) (load.Locker, error) {
		return newBenchLocker(clients[worker%len(clients)].Client, fmt.Sprintf("%s/%d", b.config.Prefix, worker), b.hold), nil
	})
	if result.Workers == 0 { // nothing was measured
		return err
	}
	printed := b.request.printer(cmd).bench(benchJSON{result, b.clients})
	return errors.Join(err, printed, b.verdict(cmd.Context(), result))
}

// connectAll returns the clients, with connections that work, and those that were made
// if there is an error.
func (b *bench) connectAll(ctx context.Context) (clients []*connection, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.request.timeout)
	defer cancel()
	for range b.clients {
		c, err := b.request.connect()
		if err != nil {
			return clients, err
		}
		clients = append(clients, c)
		if _, err := c.Get(ctx, b.config.Prefix); err != nil && !errors.Is(err, sema.ErrNotFound) {
			return clients, err
		}
	}
	return clients, nil
}

// verdict is an error if this is not the measurement that was asked for.
func (b *bench) verdict(ctx context.Context, r load.Result) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w after %gs of %v", context.Cause(ctx), r.Seconds, b.config.Duration)
	case r.Cycles > 0 && r.Samples > 0:
		return nil
	case r.Cycles == 0 && r.Errors > 0:
		return fmt.Errorf("nothing was measured: %d failed, such as: %s", r.Errors, r.ErrorTexts[0])
	}
	return fmt.Errorf("there is no latency: no %s began and ended while it was measured; try a longer --duration", b.config.Mode)
}
