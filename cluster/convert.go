package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/internal/disklog"
)

// convertBatch is how many entries are moved at a time.
const convertBatch = 512

// ConvertLog moves the log of a data directory to another log store. The node must be
// stopped, and nothing may be wrong with its disk. The log is written beside the old
// one and read again, entry by entry; then node.json is replaced, and this is the step
// that counts; then the old log is removed. It may be interrupted anywhere, by a power
// cut too: until that step the old log is the log, from then on the new one. Called
// again, or by the node's next start, what was left behind is removed.
//
// Progress, if it is not nil, is called now and then with what is done of all that
// is to be written and read.
func ConvertLog(ctx context.Context, dir string, to LogStore, progress func(done, all uint64)) (err error) {
	if to != WAL && to != BoltDB {
		return invalid("to", string(to), string(WAL)+" or "+string(BoltDB))
	}
	c := conversion{dir: dir, to: to, progress: progress}
	if c.founding, err = c.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.bolt.Close()) }()
	if from := c.founding.store(); from != to {
		if err := c.move(ctx, from); err != nil {
			return fmt.Errorf("the log in %s is in %s still: %w", dir, from, err)
		}
	}
	return removeLog(dir, c.bolt, otherStore(to))
}

// conversion is one under way. It holds the lock on the directory.
type conversion struct {
	dir      string
	to       LogStore
	progress func(done, all uint64)
	founding foundingRecord
	bolt     *raftboltdb.BoltStore
}

// open checks the directory and locks it.
func (c *conversion) open() (foundingRecord, error) {
	r, err := readFounding(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%s is not a node's data directory: it has no %s", c.dir, foundingFile)
	}
	if err != nil {
		return r, err
	}
	if !r.Bootstrapped {
		return r, fmt.Errorf("data directory %s was never used: start its node with --log-store %s", c.dir, c.to)
	}
	if err := checkDisk(c.dir, r.store(), fsm.Level); err != nil {
		return r, err
	}
	if c.bolt, err = openBolt(c.dir, false); err != nil {
		return r, err
	}
	if err := sameFounding(c.dir, r); err != nil {
		return r, errors.Join(err, c.bolt.Close())
	}
	return r, nil
}

// sameFounding makes sure that what was read before the directory was locked is true
// still: a conversion may have ended in between.
func sameFounding(dir string, r foundingRecord) error {
	now, err := readFounding(dir)
	if err == nil && now != r {
		return fmt.Errorf("data directory %s was changed by another process just now: try again", dir)
	}
	return err
}

// move writes the new log, holds it to the old one and makes it the log.
func (c *conversion) move(ctx context.Context, store LogStore) error {
	if err := removeLog(c.dir, c.bolt, c.to); err != nil { // of one that was interrupted
		return err
	}
	from, closeFrom, err := c.openLog(store)
	if err != nil {
		return err
	}
	err = c.copy(ctx, from)
	if err = errors.Join(err, closeFrom()); err != nil {
		return err
	}
	return writeFounding(c.dir, c.founding.withStore(c.to))
}

// openLog opens one of the two logs for writing.
func (c *conversion) openLog(store LogStore) (raft.LogStore, func() error, error) {
	if store == BoltDB {
		return c.bolt, func() error { return nil }, nil
	}
	log, err := disklog.Open(disklog.Options{Dir: filepath.Join(c.dir, walDir), Store: c.bolt})
	if err != nil {
		return nil, nil, err
	}
	return log, log.Close, nil
}

func (c *conversion) copy(ctx context.Context, from raft.LogStore) error {
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(c.dir, retainedSnapshots, hclog.NewNullLogger()) // errors tell
	if err != nil {
		return err
	}
	if err := forgetOldHistory(directory{LogStore: from, FileSnapshotStore: snapshots}); err != nil {
		return err
	}
	first, err := from.FirstIndex()
	if err != nil {
		return err
	}
	last, err := from.LastIndex()
	if err != nil {
		return err
	}
	to, closeTo, err := c.openLog(c.to)
	if err != nil {
		return err
	}
	if first > 0 {
		err = c.write(ctx, from, to, first, last)
	}
	if err = errors.Join(err, closeTo()); err != nil {
		return err
	}
	return c.verify(ctx, from, first, last)
}

// write copies entries, and tells its half of the progress.
func (c *conversion) write(ctx context.Context, from, to raft.LogStore, first, last uint64) error {
	for next := first; next <= last; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var batch []*raft.Log
		for size := 0; next <= last && len(batch) < convertBatch && size < 1<<20; next++ {
			entry := new(raft.Log)
			if err := from.GetLog(next, entry); err != nil {
				return fmt.Errorf("entry %d: %w", next, err)
			}
			batch, size = append(batch, entry), size+len(entry.Data)
		}
		if err := to.StoreLogs(batch); err != nil {
			return err
		}
		c.tell(next-first, 2*(last-first+1))
	}
	return nil
}

// verify reads what was written from the disk again, and holds it to the old log.
func (c *conversion) verify(ctx context.Context, from raft.LogStore, first, last uint64) error {
	var written diskLog = c.bolt
	if c.to == WAL {
		reading, err := disklog.Check(filepath.Join(c.dir, walDir), c.bolt)
		if err != nil {
			return err
		}
		written = reading
	}
	begins, err := written.FirstIndex()
	ends, err2 := written.LastIndex()
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	if begins != first || ends != last {
		return fmt.Errorf("entries %d to %d were to be written, and %d to %d are there", first, last, begins, ends)
	}
	for i := max(first, 1); i <= last; i++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var want, got raft.Log
		if err := errors.Join(from.GetLog(i, &want), written.GetLog(i, &got)); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		if !sameEntry(&want, &got) {
			return fmt.Errorf("entry %d was written and reads differently", i)
		}
		if done := i - first + 1; done%convertBatch == 0 || i == last {
			c.tell(last-first+1+done, 2*(last-first+1))
		}
	}
	return nil
}

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.AppendedAt.Equal(b.AppendedAt) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

func (c *conversion) tell(done, all uint64) {
	if c.progress != nil {
		c.progress(done, all)
	}
}

func otherStore(s LogStore) LogStore {
	if s == WAL {
		return BoltDB
	}
	return WAL
}

// removeLog removes what there is of the log in a store that does not have the log:
// the old one after a conversion, or the new one before.
func removeLog(dir string, bolt *raftboltdb.BoltStore, store LogStore) error {
	if store == WAL {
		if err := bolt.Set(disklog.TableKey, nil); err != nil { // segments that are not listed are none
			return err
		}
		if err := os.RemoveAll(filepath.Join(dir, walDir)); err != nil {
			return err
		}
		return syncDirectory(dir)
	}
	for {
		first, err := bolt.FirstIndex()
		if err != nil || first == 0 {
			return err
		}
		if err := bolt.DeleteRange(first, first+10*convertBatch); err != nil { // in steps: bbolt keeps each in memory
			return err
		}
	}
}

// finishConversion removes the log that an interrupted conversion left behind, on
// the way to this store or from it.
func finishConversion(dir string, bolt *raftboltdb.BoltStore, store LogStore, log hclog.Logger) error {
	left := false
	if store == WAL {
		first, err := bolt.FirstIndex()
		if err != nil {
			return err
		}
		left = first > 0
	} else {
		table, err := bolt.Get(disklog.TableKey)
		if err != nil && err.Error() != keyNotFound {
			return err
		}
		left = len(table) > 0 || exists(filepath.Join(dir, walDir))
	}
	if !left {
		return nil
	}
	log.Info("a conversion of the log was interrupted: what it left behind is removed", "log", store, "removed", otherStore(store))
	return removeLog(dir, bolt, otherStore(store))
}
