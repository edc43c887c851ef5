package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

// onAccount puts a command on the account of an identity that may have so many holds.
func onAccount(c fsm.Command, identity string, holds uint32) fsm.Command {
	c.Account = &fsm.Account{Identity: identity, Holds: holds}
	return c
}

// withAccounts is everything, and holds and tickets on accounts.
func withAccounts(tb testing.TB) *fsm.Machine {
	m := everything(tb)
	apply(tb, m, entryOf(tb, at(fsm.ClientRetention), onAccount(acquire("x", 5, 1), "billing", 0), onAccount(waiting("x", 5, 2), "billing", 0),
		onAccount(waiting("x", 6, 1), "shipping", 9), onAccount(acquire("y", 6, 2), "shipping", 9)))
	return m
}

// unappliableAccounts are entries with accounts that nobody writes.
func unappliableAccounts(with func(fields ...byte) []byte) map[string][]byte {
	account := func(fields ...byte) []byte {
		body := append([]byte{0x08, 1, 11<<3 | 2, byte(len(fields))}, fields...)
		return with(append([]byte{0x22, byte(len(body))}, body...)...)
	}
	return map[string][]byte{
		"an account of nobody":        account(),
		"an account without identity": account(2<<3, 1),
		"an account with limit 0":     account(1<<3|2, 1, 'a', 2<<3, 0),
		"an account beyond 32 bits":   account(1<<3|2, 1, 'a', 2<<3, 0x80, 0x80, 0x80, 0x80, 0x10),
		"an account with field 6":     account(1<<3|2, 1, 'a', 6<<3, 1),
		"an account that is a number": with(0x22, 4, 0x08, 1, 11<<3, 1),
		"two accounts":                with(0x22, 12, 0x08, 1, 11<<3|2, 3, 1<<3|2, 1, 'a', 11<<3|2, 3, 1<<3|2, 1, 'a'),
	}
}

// TestAccountLimits tells the story of two identities, step by step.
func TestAccountLimits(t *testing.T) {
	m := fsm.New()
	var seq uint64
	do := func(c fsm.Command) fsm.Result {
		t.Helper()
		return apply(t, m, entryOf(t, at(time.Second), c))[0]
	}
	limits := fsm.Account{Holds: 3, Tickets: 1, AllHolds: 5, AllNames: 4}
	try := func(identity, name string, wait bool) (fsm.Command, fsm.Result) {
		t.Helper()
		seq++
		c := acquire(name, 1, seq)
		a := limits
		a.Identity = identity
		c.Wait, c.Account = wait, &a
		return c, do(c)
	}
	has := func(step, identity string, holds, tickets int) {
		t.Helper()
		if got := m.Usage(identity); got != (fsm.Usage{Holds: holds, Tickets: tickets}) {
			t.Errorf("%s: %s has %+v, want %d holds and %d tickets", step, identity, got, holds, tickets)
		}
	}
	refused := func(r fsm.Result, most uint64) {
		t.Helper()
		var limit *sema.LimitError
		if !errors.As(r.Err, &limit) || limit.Most != most || !errors.Is(r.Err, sema.ErrLimit) {
			t.Errorf("answered %+v, %v, want the limit %d", r.Info, r.Err, most)
		}
	}
	first, a1 := try("a", "1", false)
	try("a", "2", false)
	_, r := try("a", "1", true)
	if has("two and one who waits", "a", 2, 1); r.Ticket == 0 {
		t.Errorf("no ticket: %+v", r)
	}
	_, r = try("a", "2", true)
	refused(r, 1) // tickets
	third, r := try("a", "3", false)
	refused(r, 3) // a ticket becomes a hold by itself
	has("refused", "a", 2, 1)
	if r := do(first); r.Info.Token != a1.Info.Token { // a retry is free
		t.Errorf("the retry of what stands: %+v, %v", r.Info, r.Err)
	}
	has("retried", "a", 2, 1)
	try("b", "4", false)
	_, r = try("b", "5", false)
	if has("b goes on", "b", 2, 0); r.Err != nil {
		t.Errorf("another identity: %v", r.Err)
	}
	_, r = try("b", "6", false)
	refused(r, 4) // names
	do(fsm.Command{Kind: fsm.Release, Name: "1", Token: a1.Info.Token})
	has("handed over", "a", 2, 0)
	do(fsm.Command{Kind: fsm.Release, Name: "2", Token: a1.Info.Token + 1})
	has("released", "a", 1, 0)
	if r := do(third); r.Info.Status != sema.Acquired { // the attempt was refused and not decided
		t.Errorf("the refused attempt once more: %+v, %v", r.Info, r.Err)
	}
	limits.AllNames = 0
	_, r = try("b", "6", false)
	if has("5 in all", "b", 3, 0); r.Err != nil {
		t.Error(r.Err)
	}
	_, r = try("c", "7", false)
	refused(r, 5) // all holds
	apply(t, m, entryOf(t, at(time.Hour), fsm.Command{Kind: fsm.Expire, Name: "4", Token: 3, Deadline: fsm.Time(11 * time.Second)}))
	has("expired", "b", 2, 0)
	if got := m.Total(); got != (fsm.Usage{Holds: 4}) {
		t.Errorf("in all %+v", got)
	}
	if r := do(acquire("nobody's", 9, 1)); r.Err != nil {
		t.Errorf("without an account there is no limit: %v", r.Err)
	}
}

// TestAccountsAreCounted: whatever happens, what is counted is what there is, on the
// machine that went through it and on one that was restored on the way; and no limit is
// ever passed.
func TestAccountsAreCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, mostHolds, mostTickets := fsm.New(), uint32(4), uint32(2)
		var tokens uint64
		clock := time.Second
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := fmt.Sprint("n", rapid.IntRange(1, 6).Draw(t, "name"))
			client := byte(rapid.IntRange(1, 3).Draw(t, "client"))
			seq := uint64(rapid.IntRange(1, 20).Draw(t, "seq"))
			c := acquire(name, client, seq)
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0, 1, 2:
				c.Wait = rapid.Bool().Draw(t, "wait")
				if rapid.IntRange(0, 4).Draw(t, "whose") > 0 {
					c.Account = &fsm.Account{Identity: fmt.Sprint("i", client%2), Holds: mostHolds, Tickets: mostTickets, AllHolds: 5, AllNames: 5}
				}
			case 3:
				c = cancel(name, client, seq)
			case 4:
				c = fsm.Command{Kind: fsm.ForceRelease, Name: name, Token: uint64(rapid.IntRange(1, int(tokens)+1).Draw(t, "token"))}
			case 5:
				clock += 20 * time.Second
				if view := m.Look(name); view.Held {
					c = fsm.Command{Kind: fsm.Acquire, Name: name, Owner: "o", Timeout: time.Second, Token: view.Token, Deadline: view.Deadline, Attempt: c.Attempt}
				}
			case 6:
				c = fsm.Command{Kind: fsm.Cancel, Name: name, Attempt: sema.Attempt{Client: clientID(client), Seq: seq}}
			}
			data, err := fsm.AppendBatch(nil, fsm.Batch{Stamp: at(clock), Commands: []fsm.Command{c}})
			if err != nil {
				t.Fatal(err)
			}
			results := m.Apply(logOf(data)).([]fsm.Result)
			tokens = max(tokens, results[0].Info.Token)
			checkCounts(t, m, mostHolds, mostTickets)
			if step%7 == 0 {
				before := plainSnapshot(t, m)
				m = fsm.New()
				if err := m.Restore(closing(before)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(plainSnapshot(t, m), before) {
					t.Fatal("restored, the machine writes another snapshot")
				}
				checkCounts(t, m, mostHolds, mostTickets)
			}
		}
	})
}

// checkCounts holds the counts to the holds and tickets of the snapshot.
func checkCounts(t *rapid.T, m *fsm.Machine, mostHolds, mostTickets uint32) {
	want := map[string]fsm.Usage{"i0": {}, "i1": {}}
	message := new(logv1.Snapshot)
	unmarshal(t, plainSnapshot(t, m)[12:], message)
	for _, s := range message.Semaphores {
		for _, h := range s.Holders {
			u := want[h.Identity]
			u.Holds++
			want[h.Identity] = u
		}
	}
	for _, ticket := range message.Tickets {
		u := want[ticket.Identity]
		u.Tickets++
		want[ticket.Identity] = u
	}
	for identity, u := range want {
		if identity == "" {
			continue
		}
		if got := m.Usage(identity); got != u {
			t.Fatalf("%s has %+v by the counts, and %+v by the records", identity, got, u)
		}
		if u.Holds+u.Tickets > int(mostHolds) || u.Tickets > int(mostTickets) {
			t.Fatalf("%s has %+v, more than it may", identity, u)
		}
	}
	if got, n := m.Total(), len(message.Semaphores); got.Holds != n || got.Tickets != len(message.Tickets) {
		t.Fatalf("in all %+v, want %d holds and %d tickets", got, n, len(message.Tickets))
	}
}

// TestAccountFormat notices when the format of accounts changes. What has none has the
// bytes it had before there were any, see TestSnapshotFormat and TestEntryFormat.
func TestAccountFormat(t *testing.T) {
	golden(t, "testdata/snapshot-v1-accounts.golden", snapshotOf(t, withAccounts(t)))
	c := onAccount(waiting("a", 1, 1), "billing", 300)
	c.Account.Tickets, c.Account.AllHolds, c.Account.AllNames = 2, 3, 4
	golden(t, "testdata/entry-v1-account.golden", entryOf(t, at(time.Hour), c).Data)
}

// TestEndedHoldHasNoAccount: what is remembered of a hold that has ended counts for nobody, and
// a snapshot that says otherwise is refused.
func TestEndedHoldHasNoAccount(t *testing.T) {
	message := decodeSnapshot(t, snapshotOf(t, everything(t)))
	changed := false
	for _, c := range message.Clients {
		for _, o := range c.Outcomes {
			if o.Ended != nil {
				o.Ended.Identity, changed = "a", true
			}
		}
	}
	if err := fsm.CheckSnapshot(bytes.NewReader(snapshotFile(t, message))); !changed || !errors.Is(err, fsm.ErrMalformed) {
		t.Errorf("changed %v: %v", changed, err)
	}
}

func logOf(data []byte) *raft.Log { return &raft.Log{Term: 1, Data: data} }

func closing(data []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(data)) }

// plainSnapshot is snapshotOf for rapid.
func plainSnapshot(t *rapid.T, m *fsm.Machine) []byte {
	captured, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var s sink
	if err := captured.Persist(&s); err != nil {
		t.Fatal(err)
	}
	captured.Release()
	return s.Bytes()
}

func unmarshal(t *rapid.T, data []byte, to proto.Message) {
	if err := proto.Unmarshal(data, to); err != nil {
		t.Fatal(err)
	}
}

// TestOwned: what an identity may touch or release is what counts on its account or on
// nobody's. To find out allocates nothing.
func TestOwned(t *testing.T) {
	m := fsm.New()
	held := apply(t, m, entryOf(t, at(time.Second), onAccount(acquire("x", 1, 1), "billing", 0)))[0].Info.Token
	apply(t, m, entryOf(t, at(time.Second), onAccount(waiting("x", 2, 1), "shipping", 0), acquire("y", 3, 1)))
	byToken := func(name string, token uint64) fsm.Command {
		return fsm.Command{Kind: fsm.Release, Name: name, Token: token, Attempt: sema.Attempt{Client: clientID(9), Seq: 7}}
	}
	for what, tc := range map[string]struct {
		c                 fsm.Command
		billing, shipping bool
	}{
		"a hold":                  {byToken("x", held), true, false},
		"nobody's hold":           {byToken("y", held+1), true, true},
		"a hold of another name":  {byToken("y", held), false, false},
		"a hold that is to come":  {byToken("x", held+2), false, false},
		"a hold of a free name":   {byToken("z", held), false, false},
		"nothing":                 {fsm.Command{Kind: fsm.Release, Name: "x"}, false, false},
		"an attempt that holds":   {cancel("x", 1, 1), true, false},
		"an attempt that waits":   {cancel("x", 2, 1), false, true},
		"the same by other names": {cancel("z", 2, 1), false, true},
		"an attempt to come":      {cancel("x", 4, 1), true, true},
		"one of a free name":      {cancel("z", 4, 1), true, true},
	} {
		var billing, shipping bool
		allocated := testing.AllocsPerRun(10, func() { billing, shipping = m.Owned(&tc.c, "billing"), m.Owned(&tc.c, "shipping") })
		if billing != tc.billing || shipping != tc.shipping || allocated != 0 {
			t.Errorf("%s: billing %v, shipping %v, want %v, %v; %v allocations", what, billing, shipping, tc.billing, tc.shipping, allocated)
		}
	}
}
