package testcluster

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
)

// entries reads "3.1 4.1 5.2": index and term of commands; "-" after them for one that
// is raft's own.
func entries(t *testing.T, text string) []*raft.Log {
	t.Helper()
	var list []*raft.Log
	for word := range strings.FieldsSeq(text) {
		e := &raft.Log{Type: raft.LogCommand}
		if _, err := fmt.Sscanf(word, "%d.%d", &e.Index, &e.Term); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(word, "-") {
			e.Type = raft.LogNoop
		} else {
			var err error
			if e.Data, err = fsm.AppendBatch(nil, fsm.Batch{Stamp: fsm.Stamp{Term: e.Term}}); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, e)
	}
	return list
}

func TestWhatIsCommittedIsWhatMostDisksTookLast(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes []string // "node: entries"
		upTo  uint64
		want  string // or the error
	}{
		{"nothing", nil, 0, ""},
		{"every node has all", []string{"n1: 1.1 2.1", "n2: 1.1 2.1", "n3: 1.1 2.1"}, 2, "1.1 2.1"},
		{"what comes after is not committed", []string{"n1: 1.1 2.1 3.1", "n2: 1.1 2.1"}, 2, "1.1 2.1"},
		{"raft's own entries are left out", []string{"n1: 1.1- 2.1 3.2- 4.2", "n2: 1.1- 2.1 3.2- 4.2"}, 4, "2.1 4.2"},
		{"a minority has not heard", []string{"n1: 1.1 2.1 3.1", "n2: 1.1 2.1 3.1", "n3: 1.1"}, 3, "1.1 2.1 3.1"},
		{"overwritten on the node that led", []string{"n1: 1.1 2.1 3.1", "n2: 1.1", "n3: 1.1", "n2: 2.2", "n3: 2.2", "n1: 2.2"}, 2, "1.1 2.2"},
		{"overwritten, and the node that led is away", []string{"n1: 1.1 2.1", "n2: 1.1 2.2", "n3: 1.1 2.2"}, 2, "1.1 2.2"},
		{"an old entry, taken again in a later term's place", []string{"n1: 1.1 2.1", "n2: 1.1 2.3", "n3: 1.1", "n2: 2.1", "n3: 2.1"}, 2, "1.1 2.1"},
		{"of a majority, and yet not committed", []string{"n1: 1.2", "n2: 1.2", "n3: 1.2", "n5: 1.3", "n1: 1.3", "n2: 1.3", "n3: 1.3"}, 1, "1.3"},
		{"three of five against two newer ones", []string{"n1: 1.1", "n2: 1.1", "n3: 1.1", "n4: 1.2", "n5: 1.2"}, 1, "1.1"},
		{"one came back by a snapshot and lacks what it covers", []string{"n1: 1.1 2.1 3.1", "n2: 1.1 2.1 3.1", "n3: 3.1"}, 3, "1.1 2.1 3.1"},
		{"two have a snapshot in place of the same entry", []string{"n1: 1.1 2.1 3.1", "n2: 1.1 2.1 3.1", "n3: 1.1 3.1"}, 3, "1.1 2.1 3.1"},
		{"taken twice", []string{"n1: 1.1 1.1", "n1: 1.1", "n2: 1.1"}, 1, "1.1"},
		{"one that no disk ever took", []string{"n1: 1.1 3.1", "n2: 1.1 3.1"}, 3, "error: no disk ever took entry 2 of 3"},
		{"beyond the end", []string{"n1: 1.1"}, 2, "error: no disk ever took entry 2 of 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := newJournal()
			for _, take := range c.takes {
				node, list, _ := strings.Cut(take, ": ")
				j.take(node, entries(t, list))
			}
			log, err := j.committed(c.upTo)
			var got []string
			for _, e := range log {
				got = append(got, fmt.Sprintf("%d.%d", e.Index, e.Term))
				if e.Batch.Term != e.Term {
					t.Errorf("entry %d of term %d has what term %d wrote", e.Index, e.Term, e.Batch.Term)
				}
			}
			if err != nil {
				got = []string{"error:", err.Error()}
			}
			if text := strings.Join(got, " "); text != c.want {
				t.Errorf("committed: %s, want %s", text, c.want)
			}
		})
	}
}

func TestAnEntryThatCannotBeReadIsNamed(t *testing.T) {
	j := newJournal()
	j.take("n1", []*raft.Log{{Index: 1, Term: 7, Type: raft.LogCommand, Data: []byte("no batch")}})
	if _, err := j.committed(1); err == nil || !strings.Contains(err.Error(), "entry 1, term 7") {
		t.Errorf("error %v", err)
	}
}

// An entry is as old as its first copy.
func TestTheJournalKnowsWhenADiskFirstTookAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		for i, node := range []string{"n1", "n2", "n1"} {
			<-time.After(time.Second)
			j.take(node, entries(t, "1.1"))
			if log, err := j.committed(1); err != nil || log[0].At != time.Second {
				t.Errorf("taken %d times: %+v, error %v", i+1, log, err)
			}
		}
	})
}

// The journal of a cluster that has dropped most of its log has all of it.
func TestTheJournalReachesBackBeyondSnapshots(t *testing.T) {
	t.Parallel()
	opts := ChaosOptions{}
	full, err := opts.withDefaults() // which makes nodes snapshot often
	if err != nil {
		t.Fatal(err)
	}
	Run(t, Options{Tune: full.Tune}, func(t *testing.T, c *Cluster) {
		cl := c.Client()
		away := c.others(c.Leader().ID())[1]
		c.Kill(away)
		for range 200 {
			if _, err := cl.Acquire(t.Context(), s, "somebody", time.Minute); err != nil {
				t.Fatal(err)
			}
			if err := cl.Release(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Minute) // long enough for a snapshot
		c.Start(away)
		applied, err := c.settle()
		if err != nil {
			t.Fatal(err)
		}
		log, err := c.journal.committed(applied)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(c.journal.latest[away]); n >= int(applied) {
			t.Errorf("the node that was away took all %d entries; it should have come back by a snapshot", n)
		}
		if err := c.compareReplicas(log); err != nil {
			t.Error(err)
		}
	})
}
