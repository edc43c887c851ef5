package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/testcluster/history"
	"github.com/semanode/sema/transport"
)

// settle waits until every node runs and has applied the same log, to whose end it
// returns the index, and stays so for a moment: raft counts entries as applied when they
// are handed to the state machine.
func (c *Cluster) settle() (applied uint64, err error) {
	for before := uint64(0); ; before = applied {
		if applied, err = c.caughtUp(); err != nil || applied == before {
			return applied, err
		}
		<-time.After(time.Second)
	}
}

func (c *Cluster) caughtUp() (applied uint64, err error) {
	err = c.await("all nodes have applied the same log", func() error {
		for i, m := range c.machines {
			n := m.running()
			if err := m.outWhy(); err != nil {
				return err
			}
			if n == nil {
				return fmt.Errorf("%s does not run: %w", m.id, m.cause())
			}
			st := nodeStatus(n)
			if i == 0 {
				applied = st.AppliedIndex
			}
			if st.AppliedIndex != applied || st.CommitIndex != applied {
				return fmt.Errorf("%s has applied entry %d and knows that %d are committed; another has applied %d", m.id, st.AppliedIndex, st.CommitIndex, applied)
			}
		}
		if c.leading() == nil {
			return errors.New("none leads")
		}
		return nil
	})
	return applied, err
}

// compareReplicas reports a node whose state differs from the others', or from
// what the log makes of a fresh state machine.
func (c *Cluster) compareReplicas(log history.Journal) error {
	replayed := fsm.New()
	for _, e := range log {
		data, err := fsm.AppendBatch(nil, e.Batch)
		if err != nil {
			return err
		}
		replayed.Apply(&raft.Log{Type: raft.LogCommand, Index: e.Index, Term: e.Term, Data: data})
	}
	want, err := snapshotOf(replayed)
	if err != nil {
		return err
	}
	for _, m := range c.machines {
		got, err := snapshotOf(m.replica())
		if err != nil {
			return fmt.Errorf("%s: %w", m.id, err)
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%s differs from what the committed log makes of a fresh state machine: its snapshot has %d bytes, that of the log %d", m.id, len(got), len(want))
		}
	}
	return nil
}

func snapshotOf(machine *fsm.Machine) ([]byte, error) {
	snapshot, err := machine.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	sink := new(memorySink)
	err = snapshot.Persist(sink)
	return sink.Bytes(), err
}

// memorySink is a [raft.SnapshotSink] that keeps what it is given.
type memorySink struct{ bytes.Buffer }

var _ raft.SnapshotSink = (*memorySink)(nil)

// ID implements [raft.SnapshotSink], as do the methods below.
func (*memorySink) ID() string { return "memory" }

// Cancel forgets nothing: nobody reads the rest.
func (*memorySink) Cancel() error { return nil }

// Close implements [io.Closer].
func (*memorySink) Close() error { return nil }

var _ io.WriteCloser = (*memorySink)(nil)

// linesEmpty waits until nobody is in line any more.
func (c *Cluster) linesEmpty(cl *Client) error {
	return c.await("every line is empty", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		page, err := cl.List(ctx, transport.ListRequest{})
		if err != nil {
			return err
		}
		for _, info := range page.Infos {
			if info.Waiting > 0 {
				return fmt.Errorf("%d are in line for %s", info.Waiting, info.Name)
			}
		}
		return nil
	})
}
