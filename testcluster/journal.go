package testcluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/testcluster/history"
)

// journal is every log entry that any disk has taken: what a log no longer has, for
// a snapshot took its place, is here.
type journal struct {
	began time.Time

	mu      sync.Mutex
	entries map[entryID]storedEntry
	latest  map[string]map[uint64]uint64 // term, by node and index: what its disk took last
	broken  []string                     // where entries of one index and term differ
}

type entryID struct{ index, term uint64 }

type storedEntry struct {
	kind raft.LogType
	data []byte
	at   time.Duration // when a disk first took it
	on   string        // which
}

func newJournal() *journal {
	return &journal{began: time.Now(), entries: map[entryID]storedEntry{}, latest: map[string]map[uint64]uint64{}}
}

// take notes what a node's disk took.
func (j *journal) take(node string, entries []*raft.Log) {
	j.mu.Lock()
	defer j.mu.Unlock()
	latest := j.latest[node]
	if latest == nil {
		latest = map[uint64]uint64{}
		j.latest[node] = latest
	}
	for _, e := range entries {
		latest[e.Index] = e.Term
		id := entryID{e.Index, e.Term}
		first, known := j.entries[id]
		if !known {
			j.entries[id] = storedEntry{e.Type, e.Data, time.Since(j.began), node}
		} else if e.Type != first.kind || !bytes.Equal(e.Data, first.data) {
			j.broken = append(j.broken, fmt.Sprintf("entry %d of term %d is a %s of %d bytes on %s, as stored at %s, and a %s of %d bytes on %s, as stored at %s",
				e.Index, e.Term, first.kind, len(first.data), first.on, first.at, e.Type, len(e.Data), node, time.Since(j.began)))
		}
	}
}

// matching is Raft's log matching property (Ongaro and Ousterhout, 2014, section 5.3):
// entries with the same index and term are the same on every disk.
func (j *journal) matching() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.broken) == 0 {
		return nil
	}
	return errors.New(strings.Join(j.broken, "; "))
}

// committed returns the log up to an index that is known to be committed. An entry
// that was committed is on the disks of a majority, and none of them ever takes
// another in its place: so it is what most of them took last.
func (j *journal) committed(upTo uint64) (history.Journal, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var log history.Journal
	for index := uint64(1); index <= upTo; index++ {
		term, ok := j.elected(index)
		if !ok {
			return nil, fmt.Errorf("no disk ever took entry %d of %d", index, upTo)
		}
		e := j.entries[entryID{index, term}]
		if e.kind != raft.LogCommand {
			continue
		}
		batch, err := fsm.DecodeBatch(e.data)
		if err != nil {
			return nil, fmt.Errorf("entry %d, term %d: %w", index, term, err)
		}
		batch.Commands = slices.Clone(batch.Commands)
		log = append(log, history.Entry{Index: index, Term: term, At: e.at, Batch: batch})
	}
	return log, nil
}

// terms returns when the first entry of each term was stored: a new leader begins
// with one.
func (j *journal) terms() map[uint64]time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	terms := map[uint64]time.Duration{}
	for id, e := range j.entries {
		if at, known := terms[id.term]; !known || e.at < at {
			terms[id.term] = e.at
		}
	}
	return terms
}

// elected returns the term of the entry that most disks took last at an index, and
// of several the newest.
func (j *journal) elected(index uint64) (term uint64, ok bool) {
	votes := map[uint64]int{}
	for _, latest := range j.latest {
		if t, took := latest[index]; took {
			votes[t]++
			if ok = true; votes[t] > votes[term] || votes[t] == votes[term] && t > term {
				term = t
			}
		}
	}
	return term, ok
}
