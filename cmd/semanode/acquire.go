package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

const acquireHelp = `Acquire tries once to take the semaphore, or waits in line for it with --wait.
It prints one of four answers:

  ACQUIRED                   It is yours until the timeout; the token proves it.
  OWNED_BY_SOMEONE_ELSE      Who has it, since when and until when.
  FORCED_RELEASED            The hold of an owner who let it expire was ended.
                             The semaphore is free, not yours: try again.
  RELEASED_IN_THE_MEAN_TIME  Such a hold was released just now: try again.

It exits with 0 for ACQUIRED and with 3 for the others. With --wait, it is
OWNED_BY_SOMEONE_ELSE if the wait was in vain. Acquiring again what you have is
no way to keep it: use touch, or lock, which keeps it while a command runs.

A script must look at the exit code, which a pipe would hide. In JSON a "token"
is yours; that of somebody else is called "holderToken". A hold that cannot be
printed is released.`

func newAcquireCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acquire NAME",
		Short: "Take a semaphore, or learn who has it",
		Long:  acquireHelp,
		Example: `  semanode acquire nightly-report --owner backup@host7 --timeout 1m
  semanode acquire nightly-report --wait 10s
  answer=$(semanode acquire nightly-report -o json) || exit
  token=$(jq -r .token <<<"$answer")`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	var owner string
	var timeout, wait time.Duration
	cmd.Flags().StringVar(&owner, "owner", "", "who takes it, for people to read (default USER@HOST:PID)")
	cmd.Flags().DurationVar(&timeout, "timeout", sema.DefaultTimeout, "how long the hold stays good without a touch,\n100ms to 168h")
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait in line while somebody else holds")
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		defer outlivePipes()()
		if !cmd.Flags().Changed("owner") {
			owner = defaultOwner()
		}
		if wait < 0 {
			return invalid("wait", wait, "0 (do not wait) or more")
		}
		acquire := (*client.Client).Acquire
		if wait > 0 {
			acquire = waitInLine(cmd, wait)
			r.timeout = max(r.timeout, wait+time.Second)
		}
		return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
			info, err := acquire(c, ctx, args[0], owner, timeout)
			if errors.Is(err, sema.ErrOutcomeUnknown) {
				return fmt.Errorf("%w\nget tells whether %q is held; unless it is touched, it becomes free again %v after it was acquired", err, args[0], timeout)
			}
			if err != nil {
				return err
			}
			if err := r.printer(cmd).info(info); err != nil {
				return r.takeBack(cmd, c, info, err)
			}
			if info.Status != sema.Acquired {
				return errAnswered
			}
			return nil
		})
	}
	return cmd
}

// takeBack releases a hold that could not be printed: nobody has its token.
func (r *request) takeBack(cmd *cobra.Command, c *client.Client, info sema.Info, unprinted error) error {
	unprinted = fmt.Errorf("the answer could not be printed: %w", unprinted)
	if info.Status != sema.Acquired {
		return unprinted
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), r.timeout)
	defer cancel()
	if _, err := c.ReleaseToken(ctx, info.Name, info.Token); err != nil {
		return fmt.Errorf("%w\nnor could %q be released, which was acquired: %w", unprinted, info.Name, err)
	}
	return fmt.Errorf("%w\n%q was acquired, and is released again", unprinted, info.Name)
}

// waitInLine is an Acquire that waits. It says once what it waits for.
func waitInLine(cmd *cobra.Command, limit time.Duration) func(*client.Client, context.Context, string, string, time.Duration) (sema.Info, error) {
	return func(c *client.Client, ctx context.Context, name, owner string, timeout time.Duration) (sema.Info, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		var last sema.Place
		info, err := c.AcquireWait(ctx, name, owner, timeout, func(p sema.Place) {
			if last.Position == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "semanode: "+inLine(p))
			}
			last = p
		})
		if err != nil && last.Position != 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) &&
			!errors.Is(err, sema.ErrNoLeader) && !errors.Is(err, sema.ErrOutcomeUnknown) {
			held := last.Holder // it waited in vain
			held.Waiting--      // and does no more
			return held, nil
		}
		return info, err
	}
}

// inLine tells people what they wait for.
func inLine(p sema.Place) string {
	return fmt.Sprintf("%q is held by %s since %s; waiting in line, number %d", p.Holder.Name, p.Holder.Owner, stamp(p.Holder.CreatedAt), p.Position)
}
