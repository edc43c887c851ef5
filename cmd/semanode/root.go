package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// The groups of the help text.
const (
	useGroup = "use"
	runGroup = "run"
)

// newRootCmd returns the whole tree of commands. name is what the program was
// called by.
func newRootCmd(name string) *cobra.Command {
	root := &cobra.Command{
		Use:   "semanode",
		Short: "A lock service: named semaphores, kept by consensus",
		Long: `Semanode keeps named semaphores on three or more nodes, by consensus. It runs
the nodes, and it is the command line for using them.

Start with "semanode demo", which shows a cluster at work and kills its leader,
or with "semanode dev", which gives you a cluster to play with.

What a flag leaves open, an environment variable may say: $SEMANODE_RPC_TIMEOUT for
--rpc-timeout, and likewise for all others but those that must be said each time,
such as --force. Serve reads a file besides, see its help.

Exit codes: 0 done (for acquire: ACQUIRED), 1 failed, 2 wrong usage, 3 the
semaphore answered otherwise (held by somebody else, not held, not found). Lock
ends with the code of the command it runs, or one of its own: see its help.`,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
	}
	cobra.EnableCommandSorting = false // they come in the order in which one meets them
	root.AddGroup(
		&cobra.Group{ID: useGroup, Title: "Use a cluster:"},
		&cobra.Group{ID: runGroup, Title: "Run a cluster:"},
	)
	addTo(root, useGroup,
		newLockCmd(), newAcquireCmd(), newTouchCmd(), newReleaseCmd(), newGetCmd(), newListCmd(), newStatusCmd(), newBenchCmd())
	addTo(root, runGroup, newServeCmd(), newSnapshotCmd(), newMembersCmd(), newRemoveCmd(), newTransferLeadershipCmd(), newCertCmd(), newTokenCmd(), newLogStoreCmd(), newDevCmd(name), newDemoCmd())
	addTo(root, runGroup, newConfigCmd())
	addTo(root, "", newVersionCmd())
	return root
}

func addTo(root *cobra.Command, group string, cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		cmd.GroupID = group
		cmd.DisableFlagsInUseLine = true
		cmd.Flags().SortFlags = false
		root.AddCommand(cmd)
	}
}

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	among []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "string" }

func (c *choice) Set(value string) error {
	if !slices.Contains(c.among, value) {
		return fmt.Errorf("want %s", strings.Join(c.among, " or "))
	}
	c.value = value
	return nil
}

// addChoice adds the flag to the command and its words to shell completion.
func addChoice(cmd *cobra.Command, c *choice, name, short, usage string) {
	cmd.Flags().VarP(c, name, short, usage+": "+strings.Join(c.among, ", "))
	// Fails only if there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(c.among, cobra.ShellCompDirectiveNoFileComp))
}
