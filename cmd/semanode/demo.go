package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

func newDemoCmd() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a cluster at work, and kill its leader",
		Long: `Demo starts a cluster in this process and lets workers compete for one
semaphore through it. Each of them does a piece of work, over and over, that
goes wrong if two do it at once. Half way through, the leader dies without a
word.

It ends with what the work itself saw, which knows nothing of semaphores: how
many sections ran, whether two ever ran at once, whether the tokens rose, and
how long the longest pause was. It exits with 1 if anything is not as it should
be.`,
		Example: `  semanode demo
  semanode demo --nodes 5 --workers 20 --duration 30s`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().DurationVar(&d.duration, "duration", 8*time.Second, "how long the workers work, 1s or more")
	cmd.Flags().IntVar(&d.workers, "workers", 5, "how many workers compete, 1 to 100")
	cmd.Flags().IntVar(&d.nodes, "nodes", 3, "how many nodes, 3 to 9: fewer do not outlive one")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case d.duration < time.Second:
			return invalid("duration", d.duration, "1s or more")
		case d.workers < 1 || d.workers > 100:
			return invalid("workers", d.workers, "1 to 100")
		case d.nodes < 3 || d.nodes > maxLocalNodes:
			return invalid("nodes", d.nodes, "3 to %d", maxLocalNodes)
		}
		d.out = cmd.OutOrStdout()
		return d.run(cmd.Context())
	}
	return cmd
}

// What the workers do. Sections are short and tries are many, so that a cluster
// that lets two in at once is caught at it.
const (
	demoName    = "demo"
	demoTimeout = 10 * time.Second
	demoSleep   = 5 * time.Millisecond
	maxSection  = 10 * time.Millisecond
)

// demo is one run of the command.
type demo struct {
	duration       time.Duration
	workers, nodes int
	out            io.Writer

	local  *localCluster
	ledger *ledger
}

// run runs the demonstration. It returns an error if a check failed, and if ctx
// ended before it was over.
func (d *demo) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "semanode-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	peers, err := localPeers(dir, d.nodes)
	if err != nil {
		return err
	}
	start := time.Now()
	if d.local, err = openLocal(ctx, dir, peers, hclog.NewNullLogger()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.local.Close()) }()
	if err := d.firstAnswer(ctx); err != nil {
		return err
	}
	d.ledger = newLedger()
	d.say("%d nodes run, %s; the first answer came %v after their start", d.nodes, d.leading(), short(time.Since(start)))
	d.say("%d workers compete for the semaphore %q", d.workers, demoName)
	faults := d.compete(ctx)
	return errors.Join(faults, d.ledger.summary(d.out), context.Cause(ctx))
}

// firstAnswer waits until the cluster decides.
func (d *demo) firstAnswer(ctx context.Context) error {
	c, err := client.New(client.Config{Endpoints: d.local.Endpoints()})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Get(ctx, demoName); !errors.Is(err, sema.ErrNotFound) {
		return err
	}
	return nil
}

// compete lets the workers work for as long as is given, and tells how it goes.
func (d *demo) compete(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, d.duration)
	defer stop()
	faults := make([]error, d.workers)
	var workers sync.WaitGroup
	for i := range d.workers {
		workers.Go(func() { faults[i] = d.work(ctx, fmt.Sprintf("worker %d", i+1)) })
	}
	d.narrate(ctx)
	workers.Wait()
	return errors.Join(faults...)
}

// work is one worker, with a client of its own. It runs one section after the
// other until ctx ends.
func (d *demo) work(ctx context.Context, owner string) error {
	c, err := client.New(client.Config{Endpoints: d.local.Endpoints()})
	if err != nil {
		return err
	}
	defer c.Close()
	opts := sema.IsolateOptions{Timeout: demoTimeout, SleepBetweenAttempts: demoSleep}
	for ctx.Err() == nil {
		_, err := sema.Isolate(ctx, c, demoName, owner, d.section, opts)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", owner, err)
		}
	}
	return nil
}

// section is work that only one may do at a time: read a number, take some time
// over it, write it back one higher. The ledger watches.
func (d *demo) section(ctx context.Context, hold sema.Info) (struct{}, error) {
	d.ledger.enter(hold.Token)
	seen := d.ledger.number.Load()
	pause := time.NewTimer(rand.N(maxSection))
	defer pause.Stop()
	select {
	case <-pause.C:
		d.ledger.number.Store(seen + 1)
		d.ledger.leave(true)
		return struct{}{}, nil
	case <-ctx.Done():
		d.ledger.leave(false)
		return struct{}{}, context.Cause(ctx)
	}
}

// narrate tells how it goes until ctx ends, and kills the leader half way.
func (d *demo) narrate(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	half := time.NewTimer(d.duration / 2)
	defer half.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
			d.say("%d sections so far, %s", d.ledger.sections(), d.leading())
		case <-half.C:
			leader := d.local.Leader()
			if leader == nil {
				half.Reset(10 * time.Millisecond)
				continue
			}
			d.say("%s is killed: nothing is handed over", leader.ID())
			d.ledger.leaderDies()
			leader.Kill()
		}
	}
}

func (d *demo) leading() string {
	if leader := d.local.Leader(); leader != nil {
		return leader.ID() + " leads"
	}
	return "no leader"
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%5.1fs  %s\n", time.Since(d.ledger.start).Seconds(), fmt.Sprintf(format, args...))
}

// short is a duration to three digits or so.
func short(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Millisecond)
}
