package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/semanode/sema"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/transport"
)

func newMembersCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "members",
		Short: "List the cluster's members",
		Long: `Members prints every member of the cluster: where it is reached, whether it has
a vote, and whether it answers. A node that has joined has no vote until it has
caught up with the others.`,
		Example: `  semanode members
  semanode members -o json | jq -r '.members[] | select(.voter | not).id'`,
		Args: cobra.NoArgs,
	}
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
			st, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return r.printer(cmd).members(st)
		})
	}
	return cmd
}

func newRemoveCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a node from the cluster",
		Long: `Remove takes a node out of the cluster, for good. The node stops by itself if it
runs. Its data directory is of no use any more: to take the machine in again,
empty it and start the node with --join.

If the node leads, leadership goes to another one first. It is refused if the
voters that would be left and answer were no majority, because the cluster
would stand still then; --force insists.`,
		Example:           `  semanode remove n3`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	force := cmd.Flags().Bool("force", false, "even if those that are left are no majority")
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
			if err := c.RemoveNode(ctx, args[0], *force); err != nil {
				return noMember(args[0], err)
			}
			return r.printer(cmd).removed(args[0])
		})
	}
	return cmd
}

func newTransferLeadershipCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transfer-leadership [ID]",
		Short: "Make another node lead",
		Long: `Transfer-leadership makes the node with this ID lead, or without one whichever
is best prepared, and prints who leads then. Calls wait meanwhile, for some
milliseconds.`,
		Example: `  semanode transfer-leadership n2
  semanode transfer-leadership`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	r := addRequest(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id := ""
		if len(args) > 0 {
			id = args[0]
		}
		return r.ask(cmd, func(ctx context.Context, c *client.Client) error {
			leader, err := c.TransferLeadership(ctx, id)
			if err != nil {
				return noMember(id, err)
			}
			return r.printer(cmd).leads(leader)
		})
	}
	return cmd
}

// noMember says so, where an error means that.
func noMember(id string, err error) error {
	if errors.Is(err, sema.ErrNotFound) {
		return fmt.Errorf("%q is no member of the cluster; semanode members lists them", id)
	}
	return err
}

type memberJSON struct {
	ID       string `json:"id"`
	RaftAddr string `json:"raftAddr"`
	GRPCAddr string `json:"grpcAddr"`
	Voter    bool   `json:"voter"`
	Leader   bool   `json:"leader"`
	State    string `json:"state"`
	Error    string `json:"error,omitempty"`
}

type membersJSON struct {
	ClusterID string       `json:"clusterId"`
	Members   []memberJSON `json:"members"`
}

func (p printer) members(st transport.ClusterStatus) error {
	out := membersJSON{ClusterID: st.ClusterID}
	for _, n := range st.Nodes {
		out.Members = append(out.Members, memberJSON{n.ID, n.RaftAddr, n.GRPCAddr, n.Voter, n.Leader, n.State, n.Err})
	}
	if p.json {
		return p.encode(out)
	}
	t := p.table()
	t.row("ID", "RAFT", "GRPC", "VOTE", "STATE", "ERROR")
	for _, m := range out.Members {
		vote := "no"
		if m.Voter {
			vote = "yes"
		}
		t.row(m.ID, m.RaftAddr, m.GRPCAddr, vote, m.State, m.Error)
	}
	return t.Flush()
}

func (p printer) removed(id string) error {
	if p.json {
		return p.encode(struct {
			Removed string `json:"removed"`
		}{id})
	}
	_, err := fmt.Fprintf(p.w, "node %s is no member any more\n", id)
	return err
}

func (p printer) leads(id string) error {
	if p.json {
		return p.encode(struct {
			Leader string `json:"leader"`
		}{id})
	}
	_, err := fmt.Fprintf(p.w, "node %s leads\n", id)
	return err
}
