package main

import (
	"context"
	"maps"

	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

func newListCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "Tell who holds what",
		Long: `List prints all semaphores that are held, or those whose names start with
PREFIX, in ascending order of name, each with those who wait in line for it.

It walks through pages: a hold that comes or goes meanwhile may be missed. The
--rpc-timeout is for each page.`,
		Example: `  semanode list
  semanode list reports/ -o json | jq -r '.semaphores[].name'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	var req transport.ListRequest
	cmd.Flags().BoolVar(&req.Stale, "stale", false, "read one node's own state, which may be behind")
	line := addLine(cmd)
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			req.Prefix = args[0]
		}
		req.Line = *line
		all, err := r.list(cmd, req)
		if err != nil {
			return err
		}
		return r.printer(cmd).list(all.Infos, all.Lines)
	}
	return cmd
}

// list walks all pages.
func (r *request) list(cmd *cobra.Command, req transport.ListRequest) (transport.ListResult, error) {
	all := transport.ListResult{Lines: map[string][]sema.Ticket{}}
	c, err := r.connect()
	if err != nil {
		return all, err
	}
	defer c.Close()
	page := func() (transport.ListResult, error) {
		ctx, cancel := context.WithTimeout(cmd.Context(), r.timeout)
		defer cancel()
		return c.List(ctx, req)
	}
	req.Limit = transport.MaxPageSize
	for {
		next, err := page()
		if err != nil {
			return all, err
		}
		all.Infos = append(all.Infos, next.Infos...)
		maps.Copy(all.Lines, next.Lines)
		if next.Next == "" {
			return all, nil
		}
		req.After = next.Next
	}
}
