package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/transport"
)

func newGetCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Tell who holds a semaphore",
		Long: `Get prints who holds the semaphore, since when and until when, and who waits in
line for it. It exits with 3 if nobody does.

The answer is decided by the cluster, like any other. With --stale it is the
asked node's own state: it needs no leader and may be behind.`,
		Example: `  semanode get nightly-report
  semanode get nightly-report --stale -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	stale := cmd.Flags().Bool("stale", false, "read one node's own state, which may be behind")
	line := addLine(cmd)
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
			got, err := c.Line(ctx, transport.GetRequest{Name: args[0], Stale: *stale, Line: *line})
			if err != nil {
				return r.refused(cmd, args[0], err, fmt.Sprintf("nobody holds %q", args[0]))
			}
			return r.printer(cmd).info(got.Info, got.Line...)
		})
	}
	return cmd
}

func addLine(cmd *cobra.Command) *int {
	return cmd.Flags().Int("line", 10, "how many of those that wait in line to show, at most\n1000")
}
