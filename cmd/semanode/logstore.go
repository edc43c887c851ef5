package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/cluster"
)

// logStores are the words of the flags that name one.
var logStores = []string{string(cluster.WAL), string(cluster.BoltDB)}

func newLogStoreCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log-store",
		Short: "Move a stopped node's log to another store",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("log-store needs a command: convert")
		},
	}
	addTo(cmd, "", newConvertCmd())
	return cmd
}

func newConvertCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "convert --data-dir DIR --to STORE",
		Short: "Move a stopped node's log to another store",
		Long: `Convert moves the log in a node's data directory to another store. The node must be
stopped; the others go on meanwhile, as long as they are a majority.

The log is written to its new place beside the old one, read again from there and
held to the old one, entry by entry. Only then it takes the old one's place, in one
step, and the old one is removed. Convert may be interrupted at any moment, and run
again; the node may be started after that with whichever store it has. It needs room
for the log a second time.

raft.db, which keeps the node's votes with both stores, stays as long as it was.`,
		Example: `  semanode log-store convert --data-dir /var/lib/semanode --to wal`,
		Args:    cobra.NoArgs,
	}
	dir := cmd.Flags().String("data-dir", "", "`DIR` of the node")
	to := choice{among: logStores}
	addChoice(cmd, &to, "to", "", "`STORE` to move the log to")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *dir == "" || to.value == "" {
			return usagef("convert needs --data-dir and --to")
		}
		err := cluster.ConvertLog(cmd.Context(), *dir, cluster.LogStore(to.value), newProgress(cmd.ErrOrStderr()))
		if err != nil {
			return err // also if it was interrupted: it is not done
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the log in %s is in %s\n", *dir, to.value)
		return err
	}
	return cmd
}

// newProgress tells how far something is, once a second.
func newProgress(w io.Writer) func(done, all uint64) {
	told := time.Now()
	return func(done, all uint64) {
		if time.Since(told) < time.Second {
			return
		}
		told = time.Now()
		fmt.Fprintf(w, "%d%% done\n", done*100/all) // whoever does not read it does not miss it
	}
}
