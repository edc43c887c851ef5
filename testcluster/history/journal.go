package history

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// Journal is the committed log of the cluster as it was read from the disks, the
// whole of it, in order of index. Entries that are none of the state machine's are
// left out. Nil means that there is none.
type Journal []Entry

// Entry is one entry of the log.
type Entry struct {
	Index, Term uint64
	At          time.Duration // when a node first stored it, by the clock of the history
	Batch       fsm.Batch
}

// ledger is what a state machine made of a journal.
type ledger struct {
	grants  map[uint64]granted // by token
	ended   map[uint64]ending  // by token
	queues  map[asker]*queueing
	asked   map[sema.Attempt]asker // Client and Seq only
	waiting map[uint64]bool        // tickets that are in a line at the end, by number
	audit
}

// granted is a hold that the log granted.
type granted struct {
	asker
	token uint64
	entry Entry
}

// ending is how the log ended a hold.
type ending struct {
	by    fsm.Kind
	entry Entry
}

// asker is who asks for what: different for each acquire of a history.
type asker struct{ name, owner string }

// queueing is what became of somebody who may have stood in line.
type queueing struct {
	tickets map[uint64]bool // by number
	left    bool            // a ticket was cancelled or given back
	grants  int             // more than one: what it had was taken back, and it came anew
}

var commandTexts = map[fsm.Kind]string{fsm.Acquire: "an acquire that found it overdue", fsm.Release: "a release",
	fsm.Expire: "its expiry", fsm.ForceRelease: "a forced release", fsm.Cancel: "a cancellation by the leader"}

// replay carries out a journal.
func replay(j Journal, l Limits) (*ledger, error) {
	led := &ledger{grants: map[uint64]granted{}, ended: map[uint64]ending{},
		queues: map[asker]*queueing{}, asked: map[sema.Attempt]asker{}, waiting: map[uint64]bool{}, audit: newAudit(cmp.Or(l.Overstay, 30*time.Second))}
	machine := fsm.New()
	for _, e := range j {
		data, err := fsm.AppendBatch(nil, e.Batch)
		if err != nil {
			return nil, fmt.Errorf("entry %d of the journal: %w", e.Index, err)
		}
		results, ok := machine.Apply(&raft.Log{Type: raft.LogCommand, Index: e.Index, Term: e.Term, Data: data}).([]fsm.Result)
		if !ok {
			return nil, fmt.Errorf("entry %d of the journal stops the state machine: %w", e.Index, machine.Err())
		}
		led.audit.advance(machine.Clock())
		for i, r := range results {
			led.note(e, e.Batch.Commands[i], r)
			led.audit.note(e, e.Batch.Commands[i], r)
		}
	}
	machine.Tickets(0, math.MaxInt, func(p fsm.Place) { led.waiting[p.Number] = true })
	return led, nil
}

// note takes in what one command did.
func (l *ledger) note(e Entry, c fsm.Command, r fsm.Result) {
	attempt := sema.Attempt{Client: c.Attempt.Client, Seq: c.Attempt.Seq}
	switch {
	case r.Err != nil:
	case c.Kind == fsm.Acquire:
		by := asker{c.Name, c.Owner}
		l.asked[attempt] = by
		if r.Info.Status == sema.Acquired {
			l.grant(e, c.Name, r.Info)
		}
		if r.Ticket != 0 {
			l.queue(by).tickets[r.Ticket] = true
		}
	case c.Kind == fsm.Cancel && r.Ticket != 0, c.Kind == fsm.Release && c.Token == 0:
		if by, ok := l.asked[attempt]; ok && by.name == c.Name {
			l.queue(by).left = true
		}
	}
	if r.Ended != 0 {
		l.ended[r.Ended] = ending{by: c.Kind, entry: e}
	}
	if r.Granted != nil {
		l.grant(e, c.Name, r.Granted.Info)
	}
}

func (l *ledger) grant(e Entry, name string, info sema.Info) {
	if _, again := l.grants[info.Token]; !again {
		by := asker{name, info.Owner}
		l.grants[info.Token] = granted{asker: by, token: info.Token, entry: e}
		l.queue(by).grants++
	}
}

func (l *ledger) queue(by asker) *queueing {
	q := l.queues[by]
	if q == nil {
		q = &queueing{tickets: map[uint64]bool{}}
		l.queues[by] = q
	}
	return q
}

// tell says what the log knows of a token, in lines.
func (l *ledger) tell(token uint64) []string {
	if l == nil {
		return nil
	}
	var lines []string
	if g, ok := l.grants[token]; ok {
		lines = append(lines, fmt.Sprintf("the log: token %d was granted to %s by entry %d (term %d), stored at %s",
			token, g.owner, g.entry.Index, g.entry.Term, clock(g.entry.At)))
	} else {
		lines = append(lines, fmt.Sprintf("the log: token %d was never granted", token))
	}
	if e, ok := l.ended[token]; ok {
		lines = append(lines, fmt.Sprintf("the log: token %d was ended by %s in entry %d (term %d), stored at %s",
			token, commandTexts[e.by], e.entry.Index, e.entry.Term, clock(e.entry.At)))
	}
	return lines
}
