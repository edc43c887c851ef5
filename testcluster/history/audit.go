package history

import (
	"fmt"
	"slices"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// What the log itself shows to be wrong, whoever was told of it. The state machine is
// both what is judged and what carries the log out: so what is checked here are the
// numbers in its answers, against what was asked.

// audit is what a ledger remembers for that.
type audit struct {
	deadlines map[uint64]fsm.Time // of holds, by token
	queued    map[asker]fsm.Time  // when the newest ticket was given out
	overstay  time.Duration       // see Limits
	clock     fsm.Time            // as of the newest entry
	pauses    []pause             // of the log, that were longer than patience, ascending
	wrong     []string
}

// pause is a stretch of cluster time in which nothing was written at all: the leader
// stood still, and nobody could take its place. Its clock counts the time, as it was
// the leader, but what it owed could not be done then.
type pause struct{ from, to fsm.Time }

// patience is how long the log may stand still and count as running.
const patience = time.Second

func newAudit(overstay time.Duration) audit {
	return audit{overstay: overstay, deadlines: map[uint64]fsm.Time{}, queued: map[asker]fsm.Time{}}
}

// advance takes in that an entry was written at a moment of cluster time.
func (a *audit) advance(to fsm.Time) {
	if time.Duration(to-a.clock) > patience {
		a.pauses = append(a.pauses, pause{a.clock, to})
	}
	a.clock = to
}

// running is how much of the cluster time since then the log was not standing still.
func (a *audit) running(since fsm.Time) time.Duration {
	d := a.clock - since
	for _, p := range slices.Backward(a.pauses) {
		if p.to <= since {
			break
		}
		d -= p.to - max(p.from, since)
	}
	return time.Duration(d)
}

// note takes in what one command did, at the moment of the newest entry.
func (a *audit) note(e Entry, c fsm.Command, r fsm.Result) {
	accuse := func(format string, args ...any) {
		a.wrong = append(a.wrong, fmt.Sprintf("entry %d (term %d), stored at %s: ", e.Index, e.Term, atText(e.At))+fmt.Sprintf(format, args...))
	}
	hold := func(token uint64, deadline fsm.Time, timeout time.Duration) {
		a.deadlines[token] = deadline
		if good := time.Duration(deadline - a.clock); good > timeout {
			accuse("token %d of %q is good for %v more, but was asked for for %v", token, c.Name, good, timeout)
		}
	}
	switch {
	case r.Err != nil:
	case r.Ticket != 0 && c.Kind == fsm.Acquire:
		a.queued[asker{c.Name, c.Owner}] = a.clock
	case c.Kind == fsm.Acquire && r.Info.Status == sema.Acquired, c.Kind == fsm.Touch:
		if before := a.deadlines[r.Info.Token]; c.Kind == fsm.Touch && r.Deadline < before {
			accuse("a touch moved the deadline of token %d of %q back by %v", r.Info.Token, c.Name, time.Duration(before-r.Deadline))
		}
		hold(r.Info.Token, r.Deadline, r.Info.Timeout)
	}
	g := r.Granted
	if g == nil {
		return
	}
	hold(g.Info.Token, g.Deadline, g.Info.Timeout)
	since := max(a.deadlines[r.Ended], a.queued[asker{c.Name, g.Info.Owner}])
	if late := a.running(since); r.Ended != 0 && late > a.overstay {
		accuse("token %d of %q was overdue for %v while %s waited for it", r.Ended, c.Name, late, g.Info.Owner)
	}
}

// atText is clock, where that is cluster time.
func atText(d time.Duration) string { return clock(d) }

// byTheLog: see [ByTheLog].
func byTheLog(e *evidence) (f finding) {
	if e.ledger == nil {
		f.skipped = append(f.skipped, "without a journal nobody knows what the log says")
		return f
	}
	for _, text := range e.ledger.wrong {
		f.violations = append(f.violations, Violation{Text: text})
	}
	for _, text := range e.ledger.unserved() {
		f.violations = append(f.violations, Violation{Text: text})
	}
	for _, s := range e.semaphores {
		for _, g := range s.tokens {
			if v, early := e.expiredEarly(s, g); early {
				f.violations = append(f.violations, v)
			}
			if v, lied := e.denied(s, g); lied {
				f.violations = append(f.violations, v)
			}
		}
	}
	return f
}

// unserved tells of those who waited in line, did not leave it, are not in it any more,
// and were granted nothing.
func (l *ledger) unserved() (texts []string) {
	for by, q := range l.queues {
		gone := len(q.tickets) > 0 && !q.left && q.grants == 0
		for number := range q.tickets {
			gone = gone && !l.waiting[number]
		}
		if gone {
			texts = append(texts, fmt.Sprintf("%s waited in line for %q, did not leave, and is not in it any more; it was granted nothing", by.owner, by.name))
		}
	}
	slices.Sort(texts)
	return texts
}

// expiredEarly: by the log, an acknowledged hold was ended as overdue before its
// holder could know it to be.
func (e *evidence) expiredEarly(s *semaphore, g *grant) (Violation, bool) {
	end, ended := e.ledger.ended[g.token]
	if !g.told || !ended || end.by != fsm.Expire && end.by != fsm.Acquire || g.dropped >= 0 && g.dropped <= end.entry.At || end.entry.At >= g.overdue {
		return Violation{}, false
	}
	return story(fmt.Sprintf("%s held %q, token %d, until %s at the least; it was ended as overdue at %s",
		g.by.Client, s.name, g.token, clock(g.overdue), clock(end.entry.At)), []*Op{g.by, g.kept}, e.ledger.tell(g.token)...), true
}

// denied: the only release of a hold did it, by the log, and was told that there was
// nothing to release.
func (e *evidence) denied(s *semaphore, g *grant) (Violation, bool) {
	end, ended := e.ledger.ended[g.token]
	if !ended || end.by != fsm.Release || len(g.enders) != 1 {
		return Violation{}, false
	}
	op := g.enders[0]
	if op.Kind != Release || op.Token != g.token || op.Outcome != Failed || op.Class != NotHeld || end.entry.At < op.Start || end.entry.At > op.End {
		return Violation{}, false
	}
	return story(fmt.Sprintf("%s released %q, token %d, and was told that it did not hold it", op.Client, s.name, g.token),
		[]*Op{g.by, op}, e.ledger.tell(g.token)...), true
}
