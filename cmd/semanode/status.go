package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/client"
	"github.com/semanode/sema/transport"
)

func newStatusCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Tell how the cluster is",
		Long: `Status prints every node of the cluster as the first node that answers sees it:
what it does, and how far its log and its state are.

It exits with 0 if there is a leader, and with 1 if there is none.`,
		Example: `  semanode status
  semanode status -o json | jq -r '.nodes[] | select(.leader).id'`,
		Args: cobra.NoArgs,
	}
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
			st, err := c.Status(ctx)
			if err != nil {
				return err
			}
			if err := r.printer(cmd).status(st); err != nil {
				return err
			}
			if leaderOf(st) == nil {
				return fmt.Errorf("no leader: %d of %d nodes can be reached; asked %s", reachable(st), len(st.Nodes), r.endpoints)
			}
			return nil
		})
	}
	return cmd
}

// leaderOf returns the leader's status, nil if there is none. A leader that was
// deposed and does not know it yet is of a lower term.
func leaderOf(st transport.ClusterStatus) *transport.NodeStatus {
	var leader *transport.NodeStatus
	for i, n := range st.Nodes {
		if n.Leader && (leader == nil || n.Term > leader.Term) {
			leader = &st.Nodes[i]
		}
	}
	return leader
}

// reachable counts the nodes that answered the one that was asked.
func reachable(st transport.ClusterStatus) (n int) {
	for _, node := range st.Nodes {
		if node.Err == "" {
			n++
		}
	}
	return n
}
