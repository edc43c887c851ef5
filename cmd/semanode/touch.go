package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/client"
)

func newTouchCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "touch NAME --token N",
		Short: "Keep a hold for another full timeout",
		Long: `Touch moves the deadline of a hold to a full timeout from now. It saves a hold
that is overdue, as long as nobody has taken the semaphore.

It exits with 3 if the hold is gone: whoever does the work under it must stop.`,
		Example:           `  semanode touch nightly-report --token 42`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	token := addToken(cmd, "the hold's token, a `number` that acquire printed")
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *token == 0 {
			return errNoToken
		}
		return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
			info, err := c.TouchToken(ctx, args[0], *token)
			if err != nil {
				return r.refused(cmd, args[0], err, fmt.Sprintf("token %d does not hold %q any more: stop the work that it stood for", *token, args[0]))
			}
			return r.printer(cmd).info(info)
		})
	}
	return cmd
}

var errNoToken = usagef("no token: --token takes the number that acquire printed")

func addToken(cmd *cobra.Command, usage string) *uint64 {
	return cmd.Flags().Uint64("token", 0, usage)
}
