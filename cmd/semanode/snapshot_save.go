package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/semanode/sema/backup"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/transport"
)

func newSnapshotSaveCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Take a backup while the cluster serves",
		Long: `Save writes a backup to FILE, readable by you only; "-" is stdout. All that the
cluster had acknowledged before is in it, and it is of one moment. It is held
to its checksum while it comes, and FILE is there in full or not at all.

With --data-dir it is taken from the directory of a node that is stopped, with
all that had reached that node, for when no majority is left to ask. Of several
survivors take the one with the highest term and, if those are equal, the
highest index, as snapshot inspect tells them.`,
		Example: `  semanode snapshot save sema.backup
  semanode snapshot save - | gpg -e -r ops > sema.backup.gpg
  semanode snapshot save sema.backup --data-dir /var/lib/semanode`,
		Args: cobra.ExactArgs(1),
	}
	var s saving
	cmd.Flags().BoolVar(&s.force, "force", false, "replace FILE if it is there")
	cmd.Flags().BoolVar(&s.stale, "stale", false, "take one node's own state, which may be behind;\nneeds no leader")
	cmd.Flags().StringVar(&s.dir, "data-dir", "", "take it from the `DIR` of a stopped node, and ask nobody")
	s.request = addRequest(cmd)
	cmd.Flags().Lookup("rpc-timeout").Usage = "how long to try before the backup begins"
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if s.dir != "" && (s.stale || settingsOf(cmd).place("endpoints") == fromFlag) {
			return usagef("--data-dir asks nobody: leave out --stale and --endpoints")
		}
		return s.save(cmd, args[0])
	}
	return cmd
}

// saving is one run of the command.
type saving struct {
	request      *request
	force, stale bool
	dir          string
}

func (s *saving) save(cmd *cobra.Command, path string) error {
	from := s.fromCluster
	if s.dir != "" {
		from = s.fromDirectory
	}
	take := func(to io.Writer) (backup.Summary, error) {
		if toTerminal(cmd.ErrOrStderr()) {
			to = &tellingWriter{to: to, tell: cmd.ErrOrStderr(), told: time.Now()}
		}
		return verified(to, func(to io.Writer) error { return from(cmd, to) })
	}
	printer := s.request.printer(cmd)
	var summary backup.Summary
	var err error
	if path == "-" {
		printer.w = cmd.ErrOrStderr() // stdout has the file
		summary, err = take(cmd.OutOrStdout())
	} else {
		summary, err = intoFile(path, s.force, take)
	}
	if err != nil {
		return err
	}
	return printer.backup(backupToJSON(path, summary))
}

// fromCluster asks the cluster. The time limit is for the beginning.
func (s *saving) fromCluster(cmd *cobra.Command, to io.Writer) error {
	c, err := s.request.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	limit := time.AfterFunc(s.request.timeout, func() { cancel(context.DeadlineExceeded) })
	defer limit.Stop()
	return c.Save(ctx, transport.SaveRequest{Stale: s.stale}, writerFunc(func(p []byte) (int, error) {
		limit.Stop()
		return to.Write(p)
	}))
}

func (s *saving) fromDirectory(cmd *cobra.Command, to io.Writer) error {
	var tell func(done, all uint64)
	if toTerminal(cmd.ErrOrStderr()) {
		tell = newProgress(cmd.ErrOrStderr())
	}
	return cluster.SaveDirectory(cmd.Context(), s.dir, to, tell)
}

type writerFunc func([]byte) (int, error)

// Write implements [io.Writer].
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// verified has a backup written, and reads it as it comes.
func verified(to io.Writer, write func(io.Writer) error) (backup.Summary, error) {
	read, written := io.Pipe()
	var summary backup.Summary
	var bad error
	done := make(chan struct{})
	go func() { // ends when written is closed
		defer close(done)
		summary, bad = backup.Read(read, nil)
		read.CloseWithError(bad)
	}()
	err := write(io.MultiWriter(to, written))
	written.CloseWithError(err)
	<-done
	if err != nil {
		return summary, err
	}
	return summary, bad
}

// intoFile gives what is written a name only when it is whole and on the disk. On an
// error, and when a signal comes, nothing is left behind.
func intoFile(path string, force bool, write func(io.Writer) (backup.Summary, error)) (summary backup.Summary, err error) {
	if _, err := os.Lstat(path); err == nil && !force {
		return summary, usagef("%s is there already: choose another name, or replace it with --force", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return summary, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp-*") // readable by its owner only
	if err != nil {
		return summary, err
	}
	defer func() {
		if rest := os.Remove(f.Name()); !errors.Is(rest, fs.ErrNotExist) {
			err = errors.Join(err, rest)
		}
	}()
	summary, err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return summary, err
	}
	return summary, publish(f.Name(), path, force)
}

// publish gives a file its name, and overwrites nothing unless it is to.
func publish(temporary, path string, force bool) error {
	linked := false
	if !force {
		err := os.Link(temporary, path)
		if errors.Is(err, fs.ErrExist) {
			return usagef("%s has come to be meanwhile: choose another name, or replace it with --force", path)
		}
		linked = err == nil // not every file system has links
	}
	if !linked {
		if err := os.Rename(temporary, path); err != nil {
			return err
		}
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tellingWriter tells how much was written, once a second.
type tellingWriter struct {
	to    io.Writer
	tell  io.Writer
	told  time.Time
	bytes int64
}

// Write implements [io.Writer].
func (w *tellingWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.bytes += int64(n)
	if time.Since(w.told) >= time.Second {
		w.told = time.Now()
		fmt.Fprintf(w.tell, "%.1f MiB saved\n", float64(w.bytes)/(1<<20)) // whoever does not read it does not miss it
	}
	return n, err
}
