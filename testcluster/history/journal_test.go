package history_test

import (
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/testcluster/history"
)

// logged is a journal of one command per entry, an entry each second from second 0 on.
func logged(commands ...fsm.Command) history.Journal {
	j := history.Journal{}
	for i, c := range commands {
		at := seconds(float64(i))
		j = append(j, history.Entry{Index: uint64(10 + i), Term: 1, At: at,
			Batch: fsm.Batch{Stamp: fsm.Stamp{Term: 1, Clock: fsm.Time(at)}, Commands: []fsm.Command{c}}})
	}
	return j
}

// attempt is that of op number n.
func attempt(n int) sema.Attempt {
	return sema.Attempt{Client: sema.ClientID{byte(n)}, Seq: 1, LowestOpen: 1}
}

func logAcquire(n int) fsm.Command {
	return fsm.Command{Kind: fsm.Acquire, Name: "a", Owner: ownerOf(n), Timeout: timeout, Attempt: attempt(n)}
}

func logWait(n int) fsm.Command {
	c := logAcquire(n)
	c.Wait = true
	return c
}

func logRelease(token uint64) fsm.Command {
	return fsm.Command{Kind: fsm.Release, Name: "a", Token: token}
}

func logUndo(n int) fsm.Command {
	return fsm.Command{Kind: fsm.Release, Name: "a", Attempt: attempt(n)}
}

func logCancel(n int) fsm.Command {
	return fsm.Command{Kind: fsm.Cancel, Name: "a", Attempt: attempt(n)}
}

// logAgain is the next attempt of the same op.
func logAgain(n int) fsm.Command {
	c := logWait(n)
	c.Attempt.Seq = 2
	return c
}

func logTakeBack(n int, token uint64) fsm.Command {
	c := logCancel(n)
	c.Token = token
	return c
}

func TestJournalShowsWhatWasNeverGranted(t *testing.T) {
	h := told(acquired("x", 0, 1, 1), released("x", 1, 2, 1), acquired("y", 2, 3, 2))
	expect(t, history.Check(h, logged(logAcquire(1), logRelease(1), logAcquire(3)), history.Limits{}))
	r := history.Check(h, logged(logAcquire(1), logRelease(1)), history.Limits{})
	expect(t, r, "nothing lost", "genuine")
	if !strings.Contains(r.String(), "token 2 was never granted") {
		t.Errorf("the report does not say what the log says: %v", r)
	}
	// The same token, for somebody else.
	expect(t, history.NothingLost(h, logged(logAcquire(3), logRelease(1), logAcquire(1)), history.Limits{}), "nothing lost")
}

func TestJournalShowsWhatWasShownTooEarly(t *testing.T) {
	j := logged(logAcquire(1)) // stored in second 0
	j[0].At = seconds(4)
	h := told(unknown(acquired("x", 0, 1, 1)), of(1, found("y", 2, 5, 1)))
	expect(t, history.Genuine(h, j, history.Limits{}))
	h = told(unknown(acquired("x", 0, 1, 1)), of(1, found("y", 2, 3, 1)))
	expect(t, history.Genuine(h, j, history.Limits{}), "genuine")
}

// An acquire that nobody saw again was granted, as only the log shows: it failed for
// certain, and so its hold cannot have stood on.
func TestJournalShowsUnseenHolds(t *testing.T) {
	h := told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), unknown(acquired("y", 0, 9, 0)), acquired("z", 8, 9, 3))
	expect(t, history.Linearizable(h, nil, history.Limits{}))
	j := logged(logAcquire(1), logRelease(1), logAcquire(3), logUndo(3), logAcquire(4))
	expect(t, history.Linearizable(h, j, history.Limits{}))
	early := told(acquired("x", 0, 1, 1), released("x", 2, 3, 1), unknown(acquired("y", 5, 9, 0)), acquired("z", 3, 4, 3))
	expect(t, history.Linearizable(early, nil, history.Limits{}))
	expect(t, history.Linearizable(early, j, history.Limits{}), "linearizable")
}

func TestJournalThatCannotBeCarriedOut(t *testing.T) {
	j := logged(logAcquire(1))
	j[0].Batch.Commands[0].Kind = 99
	r := history.Check(told(), j, history.Limits{})
	expect(t, r, "nothing lost")
	if !strings.Contains(r.String(), "entry 10 of the journal") {
		t.Errorf("which entry? %v", r)
	}
}

func TestFIFOWithJournal(t *testing.T) {
	// 1 holds; 2 is told its place, then 3 begins to wait, and is served before 2.
	overtaken := told(acquired("x", 0, 1, 1), placed(waited("y", 2, 20, 3), 3, 1), waited("z", 4, 10, 2))
	inOrder := told(acquired("x", 0, 1, 1), placed(waited("y", 2, 20, 2), 3, 1), waited("z", 4, 10, 3))
	for name, test := range map[string]struct {
		history.History
		history.Journal
		kept bool
	}{
		"in order":                {inOrder, logged(logAcquire(1), logWait(2), logWait(3), logRelease(1), logRelease(2)), true},
		"out of order":            {overtaken, logged(logAcquire(1), logWait(2), logWait(3), logRelease(1), logRelease(2)), false},
		"it left and came back":   {overtaken, logged(logAcquire(1), logWait(2), logWait(3), logCancel(2), logWait(2), logRelease(1), logRelease(2)), true},
		"somebody else left":      {overtaken, logged(logAcquire(1), logWait(2), logWait(3), logCancel(3), logWait(3), logRelease(1)), false},
		"it gave its ticket back": {overtaken, logged(logAcquire(1), logWait(2), logWait(3), logUndo(2), logRelease(1)), true},
		"what it had was taken back": {told(acquired("x", 0, 1, 1), placed(waited("y", 2, 20, 4), 3, 1), waited("z", 4, 10, 3)),
			logged(logAcquire(1), logWait(2), logWait(3), logRelease(1), logTakeBack(2, 2), logRelease(3), logAgain(2)), true},
		"it left, and came back when it was free":     {overtaken, logged(logAcquire(1), logWait(2), logWait(3), logCancel(2), logRelease(1), logRelease(2), logWait(2)), true},
		"it has none in the log":                      {overtaken, logged(logAcquire(1), logWait(3), logRelease(1)), true},
		"a cancellation that found nothing to cancel": {overtaken, logged(logAcquire(1), logCancel(2), logWait(2), logWait(3), logRelease(1)), false},
	} {
		t.Run(name, func(t *testing.T) {
			if r := history.FIFO(test.History, test.Journal, history.Limits{}); test.kept {
				expect(t, r)
			} else {
				expect(t, r, "first come, first served")
			}
		})
	}
}

// A hold that is overdue must be ended for those who wait. The time in which nothing at
// all was written does not count: the leader was stopped, and nobody could replace it.
func TestByTheLogHoldsThatStayTooLong(t *testing.T) {
	at := func(j history.Journal, seconds fsm.Time, c fsm.Command) history.Journal {
		e := logged(c)[0]
		e.Index, e.At = uint64(10+len(j)), time.Duration(seconds)*time.Second
		e.Batch.Clock = seconds * fsm.Time(time.Second)
		return append(j, e)
	}
	due := fsm.Time(timeout / time.Second)
	expire := fsm.Command{Kind: fsm.Expire, Name: "a", Token: 1, Deadline: fsm.Time(timeout)}
	limits := history.Limits{Overstay: 5 * time.Second}
	h := told(acquired("x", 0, 1, 1))

	// Others are served, and this one is not.
	j := at(at(history.Journal{}, 0, logAcquire(1)), 0, logWait(2))
	for s := range due + 6 {
		j = at(j, s, logRelease(99))
	}
	expect(t, history.ByTheLog(h, at(j, due+5, expire), limits))
	expect(t, history.ByTheLog(h, at(j, due+6, expire), limits), "by the log")

	// It stands still from before the deadline until long after, and again.
	j = at(at(history.Journal{}, 0, logAcquire(1)), 0, logWait(2))
	j = at(at(j, due+60, logRelease(99)), due+120, logRelease(99))
	for s := range fsm.Time(5) {
		j = at(j, due+121+s, logRelease(99))
	}
	expect(t, history.ByTheLog(h, at(j, due+125, expire), limits))
	expect(t, history.ByTheLog(h, at(j, due+126, expire), limits), "by the log")
}
