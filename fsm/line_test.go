package fsm_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

// TestFullLine: what does not fit into a line is refused, is not decided by that,
// and finds its place once there is one. A full line survives a restore; one that
// is more than full is none of ours.
func TestFullLine(t *testing.T) {
	m, _ := withHolds(t, 1)
	name := benchName(0)
	for from := 0; from < fsm.MaxWaiting; from += 1000 {
		var commands []fsm.Command
		for i := range 1000 {
			commands = append(commands, wait(name, from+i))
		}
		apply(t, m, entryOf(t, at(0), commands...))
	}
	full := snapshotOf(t, m)
	for _, m := range []*fsm.Machine{m, restore(t, full)} {
		answer := func(c fsm.Command) fsm.Result { return apply(t, m, entryOf(t, at(0), c))[0] }
		if r := answer(wait(name, fsm.MaxWaiting)); !errors.Is(r.Err, sema.ErrOverloaded) || r.Ticket != 0 || m.Look(name).Info.Waiting != fsm.MaxWaiting {
			t.Fatalf("%d wait, and one more is answered %+v", m.Look(name).Info.Waiting, r)
		}
		if r := answer(wait(name, 5)); r.Ticket != 6 {
			t.Fatalf("a retry in a full line is answered %+v", r)
		}
		if r := answer(fsm.Command{Kind: fsm.Release, Name: name, Token: 1}); r.Granted == nil {
			t.Fatalf("the release is answered %+v", r)
		}
		if r := answer(wait(name, fsm.MaxWaiting)); r.Ticket != fsm.MaxWaiting+1 || r.Info.Waiting != fsm.MaxWaiting {
			t.Fatalf("with room for one more, it is answered %+v", r)
		}
	}
	overfull := decodeSnapshot(t, full)
	overfull.Tickets = append(overfull.Tickets, &logv1.Ticket{Number: fsm.MaxWaiting + 1, Name: name, Timeout: 1, Client: make([]byte, 16), Seq: 1})
	overfull.Tickets[fsm.MaxWaiting].Client[0] = 1
	overfull.State.LastTicket++
	overfull.State.TicketCount++
	if err := fsm.CheckSnapshot(bytes.NewReader(snapshotFile(t, overfull))); !errors.Is(err, fsm.ErrMalformed) || !strings.Contains(err.Error(), "full line") {
		t.Errorf("more than full: %v", err)
	}
}

// TestLeavingInEveryOrder: whoever leaves, the others keep their order, and the last
// one to leave leaves no line.
func TestLeavingInEveryOrder(t *testing.T) {
	clients := []byte{11, 12, 13, 14}
	var leave func(gone []byte)
	leave = func(gone []byte) {
		m := linedUp(t)
		want := slices.Clone(clients)
		for _, client := range gone {
			apply(t, m, entryOf(t, at(0), cancel("a", client, 1)))
			want = slices.DeleteFunc(want, func(c byte) bool { return c == client })
			var got []byte
			m.Line("a", fsm.Place{}, 9, func(p fsm.Place) { got = append(got, p.Attempt.Client[0]) })
			if !slices.Equal(got, want) {
				t.Fatalf("%v left, and %v wait, want %v", gone, got, want)
			}
		}
		var served []byte
		for m.Look("a").Held {
			r := apply(t, m, entryOf(t, at(0), fsm.Command{Kind: fsm.Release, Name: "a", Token: m.Look("a").Token}))[0]
			if r.Granted != nil {
				served = append(served, r.Granted.Attempt.Client[0])
			}
		}
		if !slices.Equal(served, want) {
			t.Fatalf("%v left, and %v were served, want %v", gone, served, want)
		}
		for _, client := range want {
			leave(append(slices.Clone(gone), client))
		}
	}
	leave(nil)
}

// TestLinesThatNoMachineWrites: the checksum is right and the tickets are not.
func TestLinesThatNoMachineWrites(t *testing.T) {
	for name, change := range map[string]func(*logv1.Snapshot){
		"numbers out of order":    func(s *logv1.Snapshot) { s.Tickets[0], s.Tickets[1] = s.Tickets[1], s.Tickets[0] },
		"a number twice":          func(s *logv1.Snapshot) { s.Tickets[1].Number = s.Tickets[0].Number },
		"no number":               func(s *logv1.Snapshot) { s.Tickets[0].Number = 0 },
		"a number above the last": func(s *logv1.Snapshot) { s.State.LastTicket = s.Tickets[2].Number - 1 },
		"no last number":          func(s *logv1.Snapshot) { s.State.LastTicket = 0 },
		"fewer tickets":           func(s *logv1.Snapshot) { s.State.TicketCount++ },
		"more tickets":            func(s *logv1.Snapshot) { s.State.TicketCount-- },
		"tickets not counted":     func(s *logv1.Snapshot) { s.State.TicketCount = 0 },
		"the last ticket is lost": func(s *logv1.Snapshot) { s.Tickets = s.Tickets[:2] },
		"no tickets at all":       func(s *logv1.Snapshot) { s.Tickets = nil },
		"a ticket for what is free": func(s *logv1.Snapshot) {
			s.Tickets[1].Name = "free"
		},
		"a ticket for no name":     func(s *logv1.Snapshot) { s.Tickets[1].Name = "" },
		"a ticket for a long name": func(s *logv1.Snapshot) { s.Tickets[1].Name = strings.Repeat("x", sema.MaxNameBytes+1) },
		"a holder is lost": func(s *logv1.Snapshot) {
			s.Semaphores = s.Semaphores[1:]
			s.State.SemaphoreCount--
		},
		"a long owner":         func(s *logv1.Snapshot) { s.Tickets[2].Owner = strings.Repeat("x", sema.MaxOwnerBytes+1) },
		"no timeout":           func(s *logv1.Snapshot) { s.Tickets[0].Timeout = 0 },
		"a timeout before now": func(s *logv1.Snapshot) { s.Tickets[0].Timeout = -1 },
		"no client":            func(s *logv1.Snapshot) { s.Tickets[0].Client = nil },
		"a client of zeros":    func(s *logv1.Snapshot) { s.Tickets[0].Client = make([]byte, 16) },
		"half a client":        func(s *logv1.Snapshot) { s.Tickets[0].Client = s.Tickets[0].Client[:8] },
		"attempt 0":            func(s *logv1.Snapshot) { s.Tickets[0].Seq = 0 },
		"an attempt twice": func(s *logv1.Snapshot) {
			s.Tickets[2].Client, s.Tickets[2].Seq = s.Tickets[0].Client, s.Tickets[0].Seq
		},
	} {
		message := decodeSnapshot(t, snapshotOf(t, everything(t)))
		if len(message.Tickets) != 3 {
			t.Fatalf("%d tickets", len(message.Tickets))
		}
		change(message)
		if err := fsm.CheckSnapshot(bytes.NewReader(snapshotFile(t, message))); !errors.Is(err, fsm.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTicketsThatAreEncodedOtherwise: a ticket has one encoding and one place in
// the file.
func TestTicketsThatAreEncodedOtherwise(t *testing.T) {
	message := decodeSnapshot(t, snapshotOf(t, everything(t)))
	ticket := marshal(t, message.Tickets[0])
	message.Tickets, message.State.TicketCount = nil, 1
	before := snapshotFile(t, message)
	before = before[12 : len(before)-trailerSize]
	field := func(num protowire.Number, bits uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), bits)
	}
	whole := record(4, ticket)
	for name, c := range map[string]struct {
		records []byte
		good    bool
	}{
		"as it is":              {append(bytes.Clone(before), whole...), true},
		"a field of the future": {append(bytes.Clone(before), record(4, append(bytes.Clone(ticket), field(8, 1)...))...), false},
		"a field twice":         {append(bytes.Clone(before), record(4, append(bytes.Clone(ticket), field(7, 4)...))...), false},
		"fields out of order":   {append(bytes.Clone(before), record(4, append(bytes.Clone(ticket), field(1, 1)...))...), false},
		"a zero":                {append(bytes.Clone(before), record(4, append(field(1, 0), ticket...))...), false},
		"a name that is a number": {append(bytes.Clone(before), record(4, append(field(1, 1), append(field(2, 1),
			ticket[2:]...)...))...), false},
		"nothing":             {append(bytes.Clone(before), record(4, nil)...), false},
		"before its holder":   {append(bytes.Clone(whole), before...), false},
		"another record next": {append(append(bytes.Clone(before), whole...), record(5, nil)...), false},
		"a client behind":     {append(append(bytes.Clone(before), whole...), record(3, bytes.Repeat([]byte{9}, 16))...), false},
		"twice":               {append(append(bytes.Clone(before), whole...), whole...), false},
	} {
		err := fsm.CheckSnapshot(bytes.NewReader(sealedSnapshot(c.records)))
		if c.good && err != nil || !c.good && !errors.Is(err, fsm.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range ticket {
		cut := append(bytes.Clone(before), record(4, ticket[:i])...)
		if err := fsm.CheckSnapshot(bytes.NewReader(sealedSnapshot(cut))); !errors.Is(err, fsm.ErrMalformed) {
			t.Errorf("%d of %d bytes of it: %v", i, len(ticket), err)
		}
	}
}
