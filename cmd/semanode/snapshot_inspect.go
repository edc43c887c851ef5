package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

func newSnapshotInspectCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Tell what is in a backup, and whether it is whole",
		Long: `Inspect reads a backup to its end, as a restore does, and tells what is in it.
It takes the memory that a node takes for the same. Whatever is wrong with the
file is an error.`,
		Example: `  semanode snapshot inspect sema.backup
  semanode snapshot inspect sema.backup --holds -o json | jq '.semaphores[].name'`,
		Args: cobra.ExactArgs(1),
	}
	holds := cmd.Flags().Bool("holds", false, "list all holds, too")
	output := choice{"text", []string{"text", "json"}}
	addChoice(cmd, &output, "output", "o", "`FORMAT` of the answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		machine := fsm.New()
		summary, err := readBackup(args[0], machine)
		if err != nil {
			return err
		}
		b := backupToJSON(args[0], summary)
		if *holds {
			all := savedHolds(machine)
			b.Semaphores = &all
		}
		return printer{w: cmd.OutOrStdout(), json: output.value == "json"}.backup(b)
	}
	return cmd
}

// readBackup reads a whole file into a machine.
func readBackup(path string, machine *fsm.Machine) (summary backup.Summary, err error) {
	f, err := os.Open(path)
	if err != nil {
		return summary, err
	}
	defer f.Close() // it was only read
	if summary, err = cluster.ReadBackup(f, machine); err != nil {
		return summary, fmt.Errorf("%s: %w", path, err)
	}
	return summary, nil
}

// savedHolds are all holds of a machine that is no node's.
func savedHolds(machine *fsm.Machine) []savedHold {
	all, after := []savedHold{}, ""
	now := machine.Clock()
	for {
		page := machine.List("", after, transport.MaxPageSize, 0)
		for _, info := range page.Infos {
			after = info.Name
			deadline, _ := machine.DeadlineOf(info.Name, info.Token) // it is there: nothing changes
			all = append(all, savedHold{
				Name:    info.Name,
				Owner:   info.Owner,
				Token:   strconv.FormatUint(info.Token, 10),
				Timeout: info.Timeout.String(),
				Left:    time.Duration(deadline.At - now).Round(time.Millisecond).String(),
				Waiting: info.Waiting,
			})
		}
		if !page.More {
			return all
		}
	}
}
