package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/fsm"
)

func newSnapshotCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Back up a cluster, and make a new one of a backup",
		Long: `Snapshot takes backups of a cluster while it serves, looks into them, and makes
a new cluster of one. docs/backup.md says what is in a backup, what a restore
does to those who hold something, and the way back when a majority of the nodes
is lost.`,
		Example: `  semanode snapshot save sema.backup
  semanode snapshot inspect sema.backup --holds`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("snapshot needs a command: save, inspect or restore")
		},
	}
	addTo(cmd, "", newSnapshotSaveCmd(), newSnapshotInspectCmd(), newSnapshotRestoreCmd())
	return cmd
}

// backupJSON is a backup as JSON.
type backupJSON struct {
	File        string             `json:"file"`
	Bytes       int64              `json:"bytes"`
	SHA256      string             `json:"sha256"`
	ClusterID   string             `json:"clusterId"`
	ClusterName string             `json:"clusterName"`
	NodeID      string             `json:"nodeId"`
	Source      string             `json:"source"` // leader, stale or directory
	Taken       time.Time          `json:"taken"`
	Index       uint64             `json:"index"`
	Term        uint64             `json:"term"`
	ClusterTime string             `json:"clusterTime"`
	LastToken   string             `json:"lastToken"` // digits, as in infoJSON
	Holds       int                `json:"holds"`
	Waiting     int                `json:"waiting"`
	Clients     int                `json:"clients"`
	Members     []backupMemberJSON `json:"members"`
	// What a restore would begin with.
	Generation uint64 `json:"nextGeneration"`
	FirstToken string `json:"nextToken"`

	Semaphores *[]savedHold `json:"semaphores,omitempty"` // with --holds
}

type backupMemberJSON struct {
	ID       string `json:"id"`
	RaftAddr string `json:"raftAddr"`
	Voter    bool   `json:"voter"`
}

// savedHold is a hold as it stands in a backup.
type savedHold struct {
	Name    string `json:"name"`
	Owner   string `json:"owner"`
	Token   string `json:"token"`
	Timeout string `json:"timeout"`
	Left    string `json:"left"` // until it is overdue, from when the backup was taken; below 0: since then
	Waiting int    `json:"waiting"`
}

func backupToJSON(file string, s backup.Summary) backupJSON {
	facts := s.Header.Facts
	generation := fsm.NextGeneration(facts.LastToken)
	out := backupJSON{
		File:        file,
		Bytes:       s.Size,
		SHA256:      hex.EncodeToString(s.SHA256[:]),
		ClusterID:   hex.EncodeToString(s.Header.ClusterID[:]),
		ClusterName: s.Header.ClusterName,
		NodeID:      s.Header.NodeID,
		Source:      s.Header.Source.String(),
		Taken:       s.Header.Taken,
		Index:       facts.Index,
		Term:        facts.Term,
		ClusterTime: time.Duration(facts.Clock).String(),
		LastToken:   strconv.FormatUint(facts.LastToken, 10),
		Holds:       facts.Holds,
		Waiting:     facts.Waiting,
		Clients:     facts.Clients,
		Members:     []backupMemberJSON{},
		Generation:  generation,
		FirstToken:  strconv.FormatUint(generation<<fsm.TokenShift+1, 10),
	}
	for _, m := range s.Header.Members {
		out.Members = append(out.Members, backupMemberJSON{m.ID, m.RaftAddr, m.Voter})
	}
	return out
}

// backup prints what is known of a backup.
func (p printer) backup(b backupJSON) error {
	if p.json {
		return p.encode(b)
	}
	t := p.table()
	t.row("file:", fmt.Sprintf("%s, %d bytes", printable(b.File), b.Bytes))
	t.row("sha256:", b.SHA256)
	t.row("cluster:", strings.TrimSpace(b.ClusterID+" "+printable(b.ClusterName)))
	t.row("taken:", stamp(b.Taken)+", from "+printable(b.NodeID)+" ("+b.Source+")")
	t.row("index:", fmt.Sprintf("%d, term %d", b.Index, b.Term))
	t.row("cluster time:", b.ClusterTime)
	t.row("holds:", strconv.Itoa(b.Holds))
	t.row("waiting:", strconv.Itoa(b.Waiting))
	t.row("clients:", strconv.Itoa(b.Clients))
	t.row("last token:", b.LastToken)
	for _, m := range b.Members {
		role := ""
		if !m.Voter {
			role = " (no voter)"
		}
		t.row("member:", printable(m.ID)+"="+printable(m.RaftAddr)+role)
	}
	t.row("a restore:", fmt.Sprintf("generation %d, tokens from %s", b.Generation, b.FirstToken))
	if err := t.Flush(); err != nil || b.Semaphores == nil {
		return err
	}
	fmt.Fprintln(p.w) // Flush tells whether it could be written
	t = p.table()
	t.row("NAME", "OWNER", "TOKEN", "TIMEOUT", "LEFT", "WAITING")
	for _, h := range *b.Semaphores {
		t.row(printable(h.Name), printable(h.Owner), h.Token, h.Timeout, h.Left, strconv.Itoa(h.Waiting))
	}
	return t.Flush()
}

// printable is text of a file that nobody vouches for, as a terminal may see it.
func printable(s string) string {
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// toTerminal reports whether what is written there is read by somebody now.
func toTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
