package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
)

func newReleaseCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release NAME {--token N | --force}",
		Short: "Free a semaphore",
		Long: `Release ends the hold with this token. That the semaphore is free already is no
error; if somebody else holds it by now, nothing is changed and the exit code
is 3.

With --force it ends the hold of whoever has it: that is for administrators,
and whoever has it is not asked. With --force and --token it ends exactly that
hold. A forced release of a semaphore that is free exits with 3.`,
		Example: `  semanode release nightly-report --token 42
  semanode release nightly-report --force`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	token := addToken(cmd, "the hold's token, a `number` that acquire printed")
	force := cmd.Flags().Bool("force", false, "end the hold, whoever it belongs to")
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case *token == 0 && (!*force || cmd.Flags().Changed("token")):
			return errNoToken
		case *force:
			return r.forceRelease(cmd, args[0], *token)
		}
		return r.release(cmd, args[0], *token)
	}
	return cmd
}

func (r *request) release(cmd *cobra.Command, name string, token uint64) error {
	return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
		released, err := c.ReleaseToken(ctx, name, token)
		if err != nil {
			return r.refused(cmd, name, err, fmt.Sprintf("token %d does not hold %q any more: somebody else does", token, name))
		}
		return r.printer(cmd).released(name, token, released)
	})
}

// forceRelease ends one hold, the current one if token is 0. It never ends two:
// a hold that comes after the one it looked at is somebody's who may know better.
func (r *request) forceRelease(cmd *cobra.Command, name string, token uint64) error {
	return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
		if token == 0 {
			held, err := c.Get(ctx, name)
			if err != nil {
				return r.refused(cmd, name, err, fmt.Sprintf("nobody holds %q", name))
			}
			token = held.Token
		}
		ended, err := c.ForceRelease(ctx, name, token)
		if err != nil {
			return r.refused(cmd, name, err, fmt.Sprintf("token %d does not hold %q any more: nothing was changed", token, name))
		}
		ended.Status = sema.ForcedReleased
		return r.printer(cmd).info(ended)
	})
}
