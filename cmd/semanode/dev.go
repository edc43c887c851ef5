package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
)

func newDevCmd(name string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster in this process, to play with",
		Long: `Dev runs a whole cluster on this machine's loopback and prints how to reach it.
It is for trying things out and for tests: one process and one disk protect
nothing.

Its state is thrown away at the end, unless --data-dir names a directory: then
the next start with the same directory goes on where this one ended.`,
		Example: `  semanode dev
  semanode dev --nodes 5 --data-dir ./sema-dev`,
		Args: cobra.NoArgs,
	}
	nodes := cmd.Flags().Int("nodes", 3, "how many nodes, 1 to 9")
	dataDir := cmd.Flags().String("data-dir", "", "keep the state in `DIR`, in a directory for each node")
	log := addLogging(cmd, "off")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		d := dev{nodes: *nodes, dataDir: *dataDir, logger: log.logger(cmd.ErrOrStderr()), out: cmd.OutOrStdout(), name: calledAs(name)}
		if *nodes < 1 || *nodes > maxLocalNodes {
			return invalid("nodes", *nodes, "1 to %d", maxLocalNodes)
		}
		if !cmd.Flags().Changed("nodes") {
			d.nodes = 0 // as many as the directory says
		}
		return d.run(cmd.Context())
	}
	return cmd
}

// dev is one run of the command.
type dev struct {
	nodes   int    // 0: what dataDir holds, or the default
	dataDir string // empty: a temporary one
	logger  hclog.Logger
	out     io.Writer
	name    string // of the program, for commands to copy
}

// run runs the cluster until ctx ends or one of its nodes does.
func (d dev) run(ctx context.Context) (err error) {
	dir := d.dataDir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "semanode-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	peers, err := localPeers(dir, d.nodes)
	if err != nil {
		return err
	}
	local, err := openLocal(ctx, dir, peers, d.logger)
	if err != nil {
		return unlessInterrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, local.Close()) }()
	if _, err := io.WriteString(d.out, d.welcome(dir, local)); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-local.ended:
		return fmt.Errorf("a node ended: %w", err)
	}
}

// welcome tells what runs where, and what to try.
func (d dev) welcome(dir string, local *localCluster) string {
	var b strings.Builder
	b.WriteString("A cluster runs in this process until Ctrl-C. Its nodes:\n\n")
	for _, node := range local.nodes {
		fmt.Fprintf(&b, "  %s  %s\n", node.ID(), node.GRPCAddr())
	}
	if d.dataDir == "" {
		fmt.Fprintf(&b, "\nIts state, in %s, is thrown away at the end.\n", dir)
	} else {
		fmt.Fprintf(&b, "\nIts state stays in %s.\n", dir)
	}
	b.WriteString("\nTry in another terminal:\n\n")
	endpoints := ""
	if all := local.Endpoints(); !slices.Contains(all, defaultEndpoint) {
		endpoints = " --endpoints " + strings.Join(all, ",")
	}
	for _, try := range []string{
		"status",
		"acquire printer --owner alice --timeout 5m",
		"acquire printer --owner bob",
		"get printer",
		"release printer --force",
		"list",
	} {
		fmt.Fprintf(&b, "  %s %s%s\n", d.name, try, endpoints)
	}
	return b.String()
}

// calledAs is how to call the program again: as it was called, unless the Go
// tool built it in a place of its own to run it once.
func calledAs(name string) string {
	if strings.Contains(name, "go-build") {
		return "go run ./cmd/semanode"
	}
	return name
}
