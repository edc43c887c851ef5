package main

import (
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/cluster"
)

const restoreHelp = `Restore makes an empty directory that of one founding node of a new cluster,
which begins with what is in the backup. Run it for each node, with the same
FILE and the same flags but for --id and --data-dir, then start them all with
serve. Nothing runs meanwhile.

The new cluster has an identity of its own: nodes of the old one cannot talk to
it, even at the same addresses. Holds are kept, each with the time left that it
had, and all tokens from then on are far above those of the old cluster.
Whoever acquired something after the backup was taken is not known to the new
cluster: stop the old one, and let the longest timeout in use pass before you
start the new one, or see to it that every write is checked against its token.

Was anything restored before? Then the backup must have been taken from the
cluster that was restored last. From any other, be it the same one again, an
older or a newer one of the old cluster, or the data directory of an old node,
restore with a --generation above the highest that any restore had: else tokens
repeat, and no file can tell. Each restore tells its own.

Run it as the user that serve runs as: the files are readable by their owner
only.`

func newSnapshotRestoreCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE --id ID --data-dir DIR --peers LIST",
		Short: "Make the data directory of a node of a new cluster from a backup",
		Long:  restoreHelp,
		Example: `  semanode snapshot restore sema.backup --id n1 --data-dir /var/lib/semanode \
    --peers n1=10.0.0.1:7373,n2=10.0.0.2:7373,n3=10.0.0.3:7373`,
		Args: cobra.ExactArgs(1),
	}
	var cfg cluster.RestoreConfig
	flags := cmd.Flags()
	flags.StringVar(&cfg.ID, "id", "", "the node's `ID`, one of --peers")
	flags.StringVar(&cfg.DataDir, "data-dir", "", "`DIR` for the node, empty or not there yet")
	peers := flags.String("peers", "", "nodes of the new cluster with their raft ports,\n`ID=HOST:PORT,...`")
	name := flags.String("cluster-name", "", "`NAME` of the new cluster, as serve will have it (that of\nthe old one if not given)")
	store := choice{among: logStores}
	addChoice(cmd, &store, "log-store", "", "`STORE` of the log ("+string(cluster.DefaultLogStore)+" if not given)")
	flags.Uint64Var(&cfg.Generation, "generation", 0, "`NUMBER` above that of every restore before; 0: the first\nthat is possible, right for the first restore and for a\nbackup of the cluster restored last")
	flags.BoolVar(&cfg.DropHolds, "drop-holds", false, "begin without holds, and without those who wait")
	output := choice{"text", []string{"text", "json"}}
	addChoice(cmd, &output, "output", "o", "`FORMAT` of the answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if cfg.Peers, err = cluster.ParsePeers(*peers); err != nil {
			return err
		}
		if flags.Changed("cluster-name") {
			cfg.ClusterName = name
		}
		cfg.LogStore = cluster.LogStore(store.value)
		if err := cfg.Validate(); err != nil {
			return err
		}
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close() // it was only read
		restored, err := cluster.Restore(cmd.Context(), cfg, f)
		if err != nil {
			return fmt.Errorf("%s was not restored: %w", args[0], err)
		}
		return printer{w: cmd.OutOrStdout(), json: output.value == "json"}.restored(cfg, restored)
	}
	return cmd
}

// askGeneration is what only who restores can know.
const askGeneration = `
Was anything else restored before? Then this is right only if the backup is from
the cluster that was restored last. If it is not, tokens repeat: do not start
this, and restore with --generation above the highest that any restore had.
`

// restored prints what became of a backup.
func (p printer) restored(cfg cluster.RestoreConfig, r cluster.Restored) error {
	first := strconv.FormatUint(r.LastToken+1, 10)
	if p.json {
		return p.encode(struct {
			NodeID      string `json:"nodeId"`
			DataDir     string `json:"dataDir"`
			ClusterID   string `json:"clusterId"`
			ClusterName string `json:"clusterName"`
			Holds       int    `json:"holds"`
			Generation  uint64 `json:"generation"`
			FirstToken  string `json:"firstToken"`
		}{r.Founding.NodeID, cfg.DataDir, r.Founding.ClusterID, r.Founding.ClusterName, r.Holds, r.Generation, first})
	}
	t := p.table()
	t.row("node:", r.Founding.NodeID+" in "+cfg.DataDir)
	t.row("cluster:", r.Founding.ClusterID+", the same for each of its nodes")
	if r.Founding.ClusterName != "" {
		t.row("name:", printable(r.Founding.ClusterName)+", to be given to serve as --cluster-name")
	}
	t.row("holds:", strconv.Itoa(r.Holds))
	t.row("generation:", fmt.Sprintf("%d, tokens from %s; write it down", r.Generation, first))
	if err := t.Flush(); err != nil || cfg.Generation != 0 {
		return err
	}
	_, err := fmt.Fprint(p.w, askGeneration)
	return err
}
