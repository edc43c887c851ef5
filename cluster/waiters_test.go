package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// proposals is a queue and a log that a test plays itself.
type proposals struct {
	full     bool
	commands []fsm.Command
	then     []func(fsm.Result, error)
}

func (p *proposals) propose(c fsm.Command, then func(fsm.Result, error)) bool {
	if p.full {
		return false
	}
	p.commands, p.then = append(p.commands, c), append(p.then, then)
	return true
}

// answer answers the only proposal, which must be of this kind.
func (p *proposals) answer(t *testing.T, kind fsm.Kind, r fsm.Result, err error) {
	t.Helper()
	if len(p.commands) != 1 || p.commands[0].Kind != kind {
		t.Fatalf("proposed: %+v, want one of kind %d", p.commands, kind)
	}
	then := p.then[0]
	p.commands, p.then = nil, nil
	then(r, err)
}

var (
	someAttempt = sema.Attempt{Client: sema.ClientID{1}, Seq: 1}
	longAgo     = -time.Hour // a linger that is over at once
)

// inLine is a waiter that has a ticket.
func inLine(t *testing.T, ws *waiters) *waitCall {
	t.Helper()
	call, err := ws.enter("a", someAttempt, false)
	if err != nil {
		t.Fatal(err)
	}
	ws.decided(call.id, fsm.Result{Ticket: 7}, nil)
	return call
}

func soon() time.Time { return time.Now().Add(time.Minute) }

// TestUndoIsTriedUntilItIsAnswered: an entry that was not appended, a full queue.
func TestUndoIsTriedUntilItIsAnswered(t *testing.T) {
	ws, log := newWaiters(longAgo, 0), new(proposals)
	ws.leave(inLine(t, ws), false)
	log.full = true
	ws.undoAbsent(soon(), log.propose)
	log.full = false
	for _, failure := range []error{sema.ErrOverloaded, &sema.NotLeaderError{}, errors.New("who knows")} {
		ws.undoAbsent(soon(), log.propose)
		log.answer(t, fsm.Cancel, fsm.Result{}, failure)
	}
	ws.undoAbsent(soon(), log.propose)
	log.answer(t, fsm.Cancel, fsm.Result{Ticket: 7}, nil)
	if len(ws.known) != 0 {
		t.Errorf("known: %+v", ws.known)
	}
}

// TestTicketServedBeforeItsCancellation: what it was granted is released instead.
func TestTicketServedBeforeItsCancellation(t *testing.T) {
	ws, log := newWaiters(longAgo, 0), new(proposals)
	ws.leave(inLine(t, ws), false)
	ws.undoAbsent(soon(), log.propose)
	ws.granted(&fsm.Grant{Attempt: someAttempt, Info: sema.Info{Name: "a", Token: 9}})
	log.answer(t, fsm.Cancel, fsm.Result{}, nil)
	ws.undoAbsent(soon(), log.propose)
	if log.commands[0].Token != 9 {
		t.Errorf("proposed %+v", log.commands)
	}
	log.answer(t, fsm.Cancel, fsm.Result{Ended: 9}, nil)
	if len(ws.known) != 0 {
		t.Errorf("known: %+v", ws.known)
	}
}

// TestWhoeverComesBackPreventsTheUndo, or is decided after it.
func TestWhoeverComesBackPreventsTheUndo(t *testing.T) {
	ws, log := newWaiters(longAgo, 0), new(proposals)
	ws.leave(inLine(t, ws), false)
	back := inLine(t, ws)
	ws.undoAbsent(soon(), log.propose)
	if len(log.commands) != 0 {
		t.Fatalf("proposed while it is there: %+v", log.commands)
	}
	ws.leave(back, false)
	ws.undoAbsent(soon(), log.propose) // proposed before it comes back again
	again, err := ws.enter("a", someAttempt, false)
	if err != nil {
		t.Fatal(err)
	}
	log.answer(t, fsm.Cancel, fsm.Result{Ticket: 7}, nil)
	ws.decided(again.id, fsm.Result{Ticket: 8}, nil)
	ws.undoAbsent(soon(), log.propose)
	if len(log.commands) != 0 || len(ws.known) != 1 {
		t.Fatalf("proposed %+v, known %+v", log.commands, ws.known)
	}
	ws.leave(again, false)
	ws.undoAbsent(soon(), log.propose)
	log.answer(t, fsm.Cancel, fsm.Result{Ticket: 8}, nil)
}

// TestNothingIsUndoneBeforeItsOutcomeIsKnown: the call ended while its acquire was
// on its way to the disks.
func TestNothingIsUndoneBeforeItsOutcomeIsKnown(t *testing.T) {
	ws, log := newWaiters(longAgo, 0), new(proposals)
	call, err := ws.enter("a", someAttempt, false)
	if err != nil {
		t.Fatal(err)
	}
	ws.leave(call, true)
	for range 3 {
		ws.undoAbsent(soon(), log.propose)
	}
	if len(log.commands) != 0 || len(ws.known) != 1 {
		t.Fatalf("proposed %+v, known %+v", log.commands, ws.known)
	}
	ws.decided(call.id, fsm.Result{Info: sema.Info{Status: sema.Acquired, Token: 9}}, nil)
	ws.undoAbsent(soon(), log.propose)
	log.answer(t, fsm.Cancel, fsm.Result{Ended: 9}, nil)
}

// TestOneCallMayTell: the one that came last. What an older one was about to say it
// must keep to itself, because what the attempt has is taken back if the newer one
// leaves.
func TestOneCallMayTell(t *testing.T) {
	ws := newWaiters(longAgo, 0)
	first := inLine(t, ws)
	ws.granted(&fsm.Grant{Attempt: someAttempt, Info: sema.Info{Name: "a", Token: 9}})
	second, err := ws.enter("a", someAttempt, false)
	if err != nil {
		t.Fatal(err)
	}
	if ws.done(first) {
		t.Error("the first may tell")
	}
	if !ws.done(second) {
		t.Error("the second may not tell")
	}
}

// TestTicketOfTheOfficeBefore: its client comes back, is turned away, and dies.
func TestTicketOfTheOfficeBefore(t *testing.T) {
	ws, log := newWaiters(longAgo, time.Hour), new(proposals)
	call, err := ws.enter("a", someAttempt, false)
	if err != nil {
		t.Fatal(err)
	}
	ws.decided(call.id, fsm.Result{}, sema.ErrOverloaded)
	ws.leave(call, false)
	ws.undoAbsent(soon(), log.propose)
	log.answer(t, fsm.Cancel, fsm.Result{Ticket: 7}, nil)
}

// TestStrayWhoseClientDies: what was granted before it came back is not forgotten.
func TestStrayWhoseClientDies(t *testing.T) {
	ws, log := newWaiters(longAgo, time.Hour), new(proposals)
	ws.granted(&fsm.Grant{Attempt: someAttempt, Info: sema.Info{Name: "a", Token: 9}})
	call, err := ws.enter("a", someAttempt, false)
	if err != nil {
		t.Fatal(err)
	}
	ws.decided(call.id, fsm.Result{}, errAbandoned)
	ws.leave(call, false)
	ws.undoAbsent(soon(), log.propose)
	if log.commands[0].Token != 9 {
		t.Errorf("proposed %+v", log.commands)
	}
	log.answer(t, fsm.Cancel, fsm.Result{Ended: 9}, nil)
}
