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

func newAcquireCmd(env func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acquire NAME",
		Short: "Take a semaphore, or learn who has it",
		Long: `Acquire tries once to take the semaphore and never waits for it. It prints one
of four answers:

  ACQUIRED                   It is yours until the timeout; the token proves it.
  OWNED_BY_SOMEONE_ELSE      Who has it, since when and until when.
  FORCED_RELEASED            The hold of an owner who let it expire was ended.
                             The semaphore is free, not yours: try again.
  RELEASED_IN_THE_MEAN_TIME  Such a hold was released just now: try again.

It exits with 0 for ACQUIRED and with 3 for the others. Acquiring again what
you have is no way to keep it: use touch.`,
		Example: `  semanode acquire nightly-report --owner backup@host7 --timeout 1m
  token=$(semanode acquire nightly-report -o json | jq -r .token)`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	var owner string
	var timeout time.Duration
	cmd.Flags().StringVar(&owner, "owner", "", "who takes it, for people to read (default USER@HOST:PID)")
	cmd.Flags().DurationVar(&timeout, "timeout", sema.DefaultTimeout, "how long the hold stays good without a touch,\n100ms to 168h")
	r := addRequest(cmd, env)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("owner") {
			owner = defaultOwner()
		}
		return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
			info, err := c.Acquire(ctx, args[0], owner, timeout)
			if errors.Is(err, sema.ErrOutcomeUnknown) {
				return fmt.Errorf("%w\nget tells whether %q is held; unless it is touched, it becomes free again %v after it was acquired", err, args[0], timeout)
			}
			if err != nil {
				return err
			}
			if err := r.printer(cmd).info(info); err != nil {
				return err
			}
			if info.Status != sema.Acquired {
				return errAnswered
			}
			return nil
		})
	}
	return cmd
}
