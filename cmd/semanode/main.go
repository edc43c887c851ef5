// Semanode is the one binary of Sema: it runs the nodes of a cluster, and it is
// the command line through which people and scripts use one.
//
// Exit codes, the same for every command:
//
//	0  done; for acquire: ACQUIRED
//	1  failed: no leader found, outcome unknown, a fault of the disk or the network
//	2  wrong usage: nothing was changed
//	3  the semaphore answered otherwise: held by somebody else, not held, not found
//	4  of serve: the node was removed from its cluster, and need not be started again
//
// Lock, which runs a command, has those of the command and a few of its own, see
// its help.
//
// Results go to stdout, everything else to stderr; an error is one line that
// starts with "semanode: ".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/internal/tuning"
)

func main() {
	tune(os.Args)
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

// tune sets up a process that will serve, or put a load on those who do. It comes first:
// the process may begin anew.
func tune(args []string) {
	cmd, _, err := newRootCmd(args[0]).Find(args[1:])
	if err == nil && (cmd.Name() == "serve" || cmd.Name() == "bench") {
		tuning.TimerSlack()
	}
}

// run is the program. What it takes from the process around it are its arguments
// and signals, for the command that lock runs its files and environment, and for serve
// the names of all variables and the socket of the service manager.
// args[0] is the name it was called by. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	ctx, stop := interruptible(ctx)
	defer stop()
	root := newRootCmd(args[0])
	root.SetArgs(args[1:])
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	began := false
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		began = true
		return settle(cmd, env)
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !began { // flags or arguments were refused
		err = usagef("%w\nsee %s --help", err, cmd.CommandPath())
	}
	if silent(err) {
		return exitCode(err)
	}
	if exitCode(err) == exitUsage && began {
		err = settingsOf(cmd).locate(err)
	}
	if exitCode(err) == exitFailed && ctx.Err() != nil && !errors.Is(err, errInterrupted) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	fmt.Fprintln(stderr, "semanode: "+oneLine(err))
	return exitCode(err)
}

// errInterrupted is the cause with which a command's context ends at the first
// signal.
var errInterrupted = errors.New("interrupted")

// interruptible returns a context that ends at the first SIGINT or SIGTERM, so
// that the command winds down. The second ends the process on the spot.
// yieldSignals ends that early. stop undoes it and waits for the goroutine.
func interruptible(parent context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if !signal.Ignored(sig) { // a shell ignores Ctrl-C for what a script runs in the background
			signal.Notify(signals, sig)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, ok := <-signals; ok {
			cancel(errInterrupted)
		}
		if _, ok := <-signals; ok {
			os.Exit(exitFailed)
		}
	}()
	ctx = context.WithValue(ctx, yieldKey{}, func() { signal.Stop(signals) })
	return ctx, func() {
		signal.Stop(signals) // nothing is sent from here on
		close(signals)
		<-ended
		cancel(nil)
	}
}

// outlivePipes makes a write to stdout or stderr whose reader has gone fail, as any other
// write does, where it would end the process. undo ends that.
func outlivePipes() (undo func()) {
	broken := make(chan os.Signal, 1) // nobody looks: the write tells
	signal.Notify(broken, syscall.SIGPIPE)
	return func() { signal.Stop(broken) }
}

type yieldKey struct{}

// yieldSignals makes signals the business of the command whose context this is:
// they neither end ctx nor the process any more. It has asked for them by then.
func yieldSignals(ctx context.Context) { ctx.Value(yieldKey{}).(func())() }
