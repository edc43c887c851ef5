package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

const (
	// tryOnce is what --wait 0 gives the cluster to answer.
	tryOnce = 10 * time.Second
	// releaseWithin is for how long a release is tried. After that the hold ends
	// by its timeout.
	releaseWithin = 10 * time.Second
	// minWindDown is the least in which a group of processes can be ended.
	minWindDown = 10 * time.Millisecond
)

const lockHelp = `Lock waits in line for the semaphore, runs the command, keeps the hold alive
while it runs, releases it, and exits with the command's code. It waits without
limit unless --wait says how long; --wait 0 tries once and does not wait, except
up to 10s for a leader to answer.

The command gets SEMA_NAME, SEMA_TOKEN and SEMA_OWNER in its environment. The
token belongs in every write to what the semaphore protects: if this machine
stands still for longer than the timeout, nothing else can tell a late write.

The command runs in a process group of its own. SIGINT, SIGTERM, SIGHUP,
SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH and SIGTSTP go on to the whole group. On a
terminal the group has the foreground, and Ctrl-Z stops lock with it: if the
hold ended before both are resumed, the command never goes on.

If the hold cannot be kept because no majority of the nodes can be reached, the
whole group is stopped before the hold can pass to the next: the wind-down, by
default a third of the timeout, is set aside for that. It begins with SIGTERM;
SIGKILL follows when three quarters of it have passed. A hold that somebody
ended by force is noticed within a third of the timeout, and the group is then
stopped in the same way; if this process stood still for too long, it is killed
at once.

What a command leaves running in its group when it ends is work under the
semaphore, too: it has a quarter of the wind-down (at most 1s) to end by itself,
and is then stopped in the same way before the semaphore is released.

Not covered are processes that leave the group (by setsid, or under timeout or a
shell with job control), and a lock that is itself ended by SIGKILL: then Linux
ends the command, but not what the command started, and the hold stands until
its timeout.

Exit codes: the command's, 128+n if signal n ended it, and of lock itself

  2    wrong usage
  75   not acquired within --wait: held by somebody else, or no leader found
  76   the hold was lost while the command ran, whatever its own code was
  126  the command cannot be executed
  127  the command was not found
  129, 130, 131, 143  interrupted by SIGHUP, SIGINT, SIGQUIT or SIGTERM while
       waiting; the place in line was given back
  1    any other failure

Lock writes to stderr only.`

func newLockCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock NAME [flags] -- CMD ARGS...",
		Short: "Run a command while holding a semaphore",
		Long:  lockHelp,
		Example: `  semanode lock nightly-report --timeout 1m -- ./report.sh --full
  semanode lock deploy --wait 0 -- make deploy || echo "somebody else is at it"`,
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	l := lock{}
	cmd.Flags().DurationVar(&l.timeout, "timeout", sema.DefaultTimeout, "how soon others may go on after this process died,\n100ms to 168h")
	cmd.Flags().DurationVar(&l.wait, "wait", 0, "longest wait in line; 0: try once (default no limit)")
	cmd.Flags().DurationVar(&l.windDown, "wind-down", 0, "how long before the hold can pass to stop the command,\n10ms to half the timeout (default a third of it)")
	cmd.Flags().StringVar(&l.owner, "owner", "", "who takes it, for people to read (default USER@HOST:PID)")
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "do not tell about the wait in line")
	r := request{timeout: tryOnce}
	r.addEndpoints(cmd)
	cmd.Args = lockArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l.name, l.args, l.stderr = args[0], args[1:], cmd.ErrOrStderr()
		if !cmd.Flags().Changed("owner") {
			l.owner = defaultOwner()
		}
		l.forever = !cmd.Flags().Changed("wait")
		if !cmd.Flags().Changed("wind-down") {
			l.windDown = l.timeout / 3
		}
		return l.run(cmd.Context(), &r)
	}
	return cmd
}

// lockArgs wants the -- because without it the command's flags would be lock's.
func lockArgs(cmd *cobra.Command, args []string) error {
	switch dash := cmd.ArgsLenAtDash(); {
	case dash < 0:
		return errors.New("want -- between the name and the command: NAME -- CMD ARGS")
	case dash != 1:
		return fmt.Errorf("want one name before --, got %d", dash)
	case len(args) == 1:
		return errors.New("want a command after --")
	}
	return nil
}

// lock is one run of the command.
type lock struct {
	name     string
	owner    string
	timeout  time.Duration
	wait     time.Duration
	forever  bool // instead: there is no limit to the wait
	windDown time.Duration
	quiet    bool
	args     []string // of the command to run, its name first
	stderr   io.Writer
	teller   *teller // to stderr
}

func (l *lock) validate() error {
	err := sema.Validate(l.name, l.owner, l.timeout)
	if l.wait < 0 {
		err = errors.Join(err, invalid("wait", l.wait, "0 or more"))
	}
	if l.windDown < minWindDown || l.windDown > l.timeout/2 {
		err = errors.Join(err, invalid("wind-down", l.windDown, "%v to half the timeout of %v", minWindDown, l.timeout))
	}
	return err
}

// run looks first whether there is such a command: who waited in line for hours
// should not learn then that its name was misspelt.
func (l *lock) run(ctx context.Context, r *request) error {
	if err := errors.Join(l.validate(), supported()); err != nil {
		return err
	}
	path, err := lookUp(l.args[0])
	if err != nil {
		return err
	}
	c, err := r.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	signals, stop := takeSignals(ctx)
	defer stop() // after the last line was written, which would else end the process if nobody reads
	l.teller = newTeller(l.stderr)
	defer l.teller.close()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // the hold's, too: it lasts to the end
	defer cancel(nil)
	hold, err := l.inLine(ctx, cancel, c.Client, signals)
	if err != nil {
		return err
	}
	cmd := command{
		path: path, args: l.args, windDown: l.windDown,
		say: func(line string) { l.say(fmt.Sprintf("%q: %s", l.name, line)) },
		env: withEnv(os.Environ(), "SEMA_NAME="+l.name, fmt.Sprintf("SEMA_TOKEN=%d", hold.Token()), "SEMA_OWNER="+l.owner),
		// Not what the program was given to write to: the very same files.
		files: []uintptr{os.Stdin.Fd(), os.Stdout.Fd(), os.Stderr.Fd()},
	}
	end, err := cmd.run(hold, signals)
	lost := l.release(ctx, hold, end)
	switch {
	case err != nil:
		return err
	case lost:
		return &exitError{code: exitLost}
	case end.code != exitDone:
		return &exitError{code: end.code}
	}
	return nil
}

// release ends the hold and reports whether it was lost before the command ended.
// From here on signals change nothing: the wait is short.
func (l *lock) release(ctx context.Context, hold *client.Lock, end ending) (lost bool) {
	if end.left {
		l.say(fmt.Sprintf("processes that the command left behind do not go: %q is not released, its hold ends within %v", l.name, l.timeout))
		return end.lost
	}
	within := min(l.timeout, releaseWithin)
	if end.lost { // there is little to release
		within = min(within, time.Until(hold.Deadline()))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	err := hold.Unlock(ctx)
	switch {
	case end.lost:
	case errors.Is(err, sema.ErrLost):
		end.lost = true
		l.say(fmt.Sprintf("the hold on %q was lost while the command ran, which was noticed only now", l.name))
	case err != nil:
		l.say(fmt.Sprintf("%q could not be released and frees itself within %v: %v", l.name, l.timeout, err))
	}
	return end.lost
}

// say tells people one line, and does not wait until they read it.
func (l *lock) say(line string) { l.teller.say("semanode: " + oneLine(errors.New(line))) }

// inLine acquires the semaphore. A signal that asks to end gives the place in line
// back; a second one ends the process on the spot. cancel is that of ctx.
func (l *lock) inLine(ctx context.Context, cancel context.CancelCauseFunc, c *client.Client, signals <-chan os.Signal) (*client.Lock, error) {
	answered, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		cancelAtSignal(signals, answered, cancel)
	}()
	hold, err := l.acquire(ctx, cancel, c)
	close(answered)
	<-ended
	if cause := context.Cause(ctx); cause != nil && err == nil { // it came with the answer
		l.release(ctx, hold, ending{})
		err = cause
	}
	var by interruption
	switch {
	case err == nil:
		return hold, nil
	case errors.As(context.Cause(ctx), &by):
		return nil, &exitError{exitSignalled + int(by.Signal), fmt.Errorf("%w while waiting for %q (signal %d, %v)", by, l.name, by.Signal, by.Signal)}
	case errors.Is(err, sema.ErrHeld), errors.Is(err, sema.ErrNoLeader), errors.Is(err, context.DeadlineExceeded):
		return nil, &exitError{exitNotAcquired, l.notAcquired(err)}
	}
	return nil, err
}

// notAcquired says who was in the way, or else why nobody knows.
func (l *lock) notAcquired(err error) error {
	if held := (*sema.HeldError)(nil); errors.As(err, &held) {
		err = &sema.HeldError{Info: held.Info} // that time ran out is said here
	}
	if l.wait == 0 {
		return fmt.Errorf("not acquired: %w", err)
	}
	return fmt.Errorf("not acquired within %v: %w", l.wait, err)
}

// acquire waits in line, or tries once. The hold ends with ctx.
func (l *lock) acquire(ctx context.Context, cancel context.CancelCauseFunc, c *client.Client) (*client.Lock, error) {
	opts := client.LockOptions{Owner: l.owner, Timeout: l.timeout, WindDown: l.windDown}
	if l.wait == 0 && !l.forever {
		late := time.AfterFunc(tryOnce, func() { cancel(fmt.Errorf("no answer within %v: %w", tryOnce, context.DeadlineExceeded)) })
		defer late.Stop()
		return c.TryLock(ctx, l.name, opts)
	}
	opts.Wait = l.wait
	if !l.quiet {
		p := l.reportProgress()
		defer p.end()
		opts.Notify = p.moved
	}
	return c.Lock(ctx, l.name, opts)
}

// interruption is the cause with which a wait ends at a signal.
type interruption struct{ syscall.Signal }

func (i interruption) Error() string { return errInterrupted.Error() }

// cancelAtSignal cancels the wait at the first signal that asks to end and ends
// the process at the second. It returns when the wait is answered.
func cancelAtSignal(signals <-chan os.Signal, answered <-chan struct{}, cancel context.CancelCauseFunc) {
	asked := false
	for {
		select {
		case <-answered:
			return
		case sig := <-signals:
			switch sig {
			default: // a window changed its size, or somebody wanted to talk to the command
				continue
			case syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT:
			}
			if asked {
				os.Exit(exitSignalled + int(sig.(syscall.Signal)))
			}
			asked = true
			cancel(interruption{sig.(syscall.Signal)})
		}
	}
}
