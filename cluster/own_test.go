package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/client"
	"github.com/semanode/sema/cluster"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport"
)

// The identities of startTwo, who may acquire the same names and do nothing else.
var victim, thief = access.NewToken(), access.NewToken()

func startTwo(t *testing.T, nodes int) *harness {
	t.Helper()
	file := filepath.Join(t.TempDir(), "access.yaml")
	if err := os.WriteFile(file, []byte(`
identities:
  - {name: victim, tokens: ["`+victim.Hash().String()+`"]}
  - {name: thief, tokens: ["`+thief.Hash().String()+`"]}
rules:
  - {who: [victim, thief], names: ["a/"], rights: [acquire]}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHarness(t, nodes, func(c *cluster.Config) { c.AccessFile = file })
	eventually(t, "all members know accounts", func() error {
		if !bytes.Contains([]byte(h.logs.String()), []byte("know log entries of a higher level")) {
			return errors.New("they do not")
		}
		return nil
	})
	return h
}

// at returns a client of one node, which makes its calls one by one if unary.
func (h *harness) at(node *cluster.Node, token access.Token, unary bool) *client.Client {
	h.t.Helper()
	c, err := client.New(client.Config{Endpoints: []string{node.GRPCAddr()}, Token: string(token), Unary: unary})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestNobodyEndsWhatOthersHold: who may acquire is told the token of whoever holds, and can
// neither end that hold by it nor prolong it, on any way to the leader; its owner can.
func TestNobodyEndsWhatOthersHold(t *testing.T) {
	t.Parallel()
	h := startTwo(t, 2)
	for where, node := range map[string]*cluster.Node{"the leader": h.leader(), "a follower": h.follower()} {
		for _, unary := range []bool{false, true} {
			way := fmt.Sprintf("%s, unary %v", where, unary)
			name := "a/" + way
			owner, other := h.at(node, victim, unary), h.at(node, thief, unary)
			held := acquire(t, owner, name, "victim", time.Hour)
			seen := acquire(t, other, name, "thief", time.Hour)
			if held.Status != sema.Acquired || seen.Token != held.Token {
				t.Fatalf("%s: %+v, and then %+v", way, held, seen)
			}
			if _, err := other.TouchToken(soon(t), name, held.Token); !errors.Is(err, sema.ErrNotHeld) {
				t.Errorf("%s: a touch by somebody else: %v", way, err)
			}
			if released, err := other.ReleaseToken(soon(t), name, held.Token); released || !errors.Is(err, sema.ErrNotHeld) {
				t.Errorf("%s: a release by somebody else: %v, %v", way, released, err)
			}
			if again := acquire(t, other, name, "thief", time.Hour); again.Status != sema.OwnedBySomeoneElse || again.Token != held.Token || again.UpdatedAt != held.UpdatedAt {
				t.Errorf("%s: afterwards %+v, want it as it was: %+v", way, again, held)
			}
			if _, err := owner.Touch(soon(t), name); err != nil {
				t.Errorf("%s: a touch by its owner: %v", way, err)
			}
			if err := owner.Release(soon(t), name); err != nil {
				t.Errorf("%s: a release by its owner: %v", way, err)
			}
			if freed := acquire(t, other, name, "thief", time.Hour); freed.Status != sema.Acquired {
				t.Errorf("%s: after the release %+v", way, freed)
			}
		}
	}
}

// on is an account without limits.
func on(identity string) *transport.Account { return &transport.Account{Identity: identity} }

// TestOwnHoldsOnly asks the leader for each form of touch and release on the account of
// somebody else, of the owner, and of nobody.
func TestOwnHoldsOnly(t *testing.T) {
	t.Parallel()
	h := startTwo(t, 1)
	b := h.leader().Backend()
	attempt := sema.Attempt{Client: sema.ClientID{1}, Seq: 1, LowestOpen: 1}
	forms := map[string]func(name string, token uint64, by *transport.Account) error{
		"touch": func(name string, token uint64, by *transport.Account) error {
			_, err := b.Touch(soon(t), transport.TouchRequest{Name: name, Token: token, Account: by})
			return err
		},
		"touch of many": func(name string, token uint64, by *transport.Account) error {
			outcomes, err := b.TouchAll(soon(t), transport.TouchAllRequest{Holds: []transport.HoldID{{Name: name, Token: token}}, Account: by})
			return errors.Join(err, outcomes[0].Err)
		},
		"release": func(name string, token uint64, by *transport.Account) error {
			_, err := b.Release(soon(t), transport.ReleaseRequest{Name: name, Token: token, Account: by})
			return err
		},
		"release of an attempt": func(name string, _ uint64, by *transport.Account) error {
			_, err := b.Release(soon(t), transport.ReleaseRequest{Name: name, Attempt: attempt, Account: by})
			return err
		},
	}
	for form, do := range forms {
		for _, tc := range []struct {
			of, by *transport.Account
			want   error
		}{
			{on("victim"), on("thief"), sema.ErrNotHeld},
			{on("victim"), on("victim"), nil},
			{on("victim"), nil, nil}, // who embeds the node
			{nil, on("thief"), nil},  // acquired without access control
		} {
			attempt.Seq++
			attempt.LowestOpen = attempt.Seq
			name := fmt.Sprint("own/", attempt.Seq)
			info, err := b.Acquire(soon(t), transport.AcquireRequest{Name: name, Owner: "o", Timeout: time.Hour, Attempt: attempt, Account: tc.of})
			if err != nil || info.Status != sema.Acquired {
				t.Fatal(info, err)
			}
			if err := do(name, info.Token, tc.by); !errors.Is(err, tc.want) {
				t.Errorf("%s of what is held on %v by %v: %v, want %v", form, tc.of, tc.by, err, tc.want)
			}
			got, err := b.Get(soon(t), transport.GetRequest{Name: name})
			if tc.want != nil && (err != nil || got.Info.Token != info.Token || got.Info.UpdatedAt != info.UpdatedAt) {
				t.Errorf("%s: it was refused, and left %+v, %v of %+v", form, got.Info, err, info)
			}
		}
	}
}

// TestOwnTicketsOnly: who knows the attempt of somebody who waits cannot end the wait.
func TestOwnTicketsOnly(t *testing.T) {
	t.Parallel()
	h := startTwo(t, 1)
	b := h.leader().Backend()
	first := acquire(t, h.leader(), "a/x", "first", time.Hour)
	attempt := sema.Attempt{Client: sema.ClientID{1}, Seq: 1, LowestOpen: 1}
	placed, granted := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		_, err := b.Wait(soon(t), transport.AcquireRequest{Name: "a/x", Owner: "victim", Timeout: time.Hour, Attempt: attempt, Account: on("victim")},
			func(sema.Place) { placed <- struct{}{} })
		granted <- err
	}()
	<-placed
	if _, err := b.Release(soon(t), transport.ReleaseRequest{Name: "a/x", Attempt: attempt, Account: on("thief")}); !errors.Is(err, sema.ErrNotHeld) {
		t.Errorf("somebody else's wait was ended: %v", err)
	}
	if _, err := b.Release(soon(t), transport.ReleaseRequest{Name: "a/x", Token: first.Token}); err != nil {
		t.Fatal(err)
	}
	if err := <-granted; err != nil {
		t.Errorf("the wait: %v", err)
	}
}

// TestATokenThatIsGuessed: the next token is known to everybody, and who names it before it
// is granted, in the same entry even, hits nothing.
func TestATokenThatIsGuessed(t *testing.T) {
	t.Parallel()
	h := startTwo(t, 1)
	b := h.leader().Backend()
	last := acquire(t, h.leader(), "a/last", "o", time.Hour).Token
	ctx, cancel := context.WithCancel(soon(t))
	guessed := make(chan struct{})
	for i := range 8 {
		go func() {
			defer func() { guessed <- struct{}{} }()
			for n := uint64(i); ctx.Err() == nil; n++ {
				_, _ = b.Release(ctx, transport.ReleaseRequest{Name: "a/x", Token: last + 1 + n%200, Account: on("thief")})
			}
		}()
	}
	for range 100 {
		info, err := b.Acquire(soon(t), transport.AcquireRequest{Name: "a/x", Owner: "victim", Timeout: time.Hour, Account: on("victim")})
		if err != nil || info.Status != sema.Acquired {
			t.Fatalf("%+v, %v", info, err)
		}
		if released, err := b.Release(soon(t), transport.ReleaseRequest{Name: "a/x", Token: info.Token, Account: on("victim")}); !released || err != nil {
			t.Fatalf("somebody has ended it: %v, %v", released, err)
		}
	}
	cancel()
	for range 8 {
		<-guessed
	}
}

// TestUpgradingLeavesHoldsOpen: what was acquired while a member knew no accounts counts
// for nobody, and whoever may acquire its name may act on it.
func TestUpgradingLeavesHoldsOpen(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, func(c *cluster.Config) { c.Host.Level = fsm.LevelAccounts - 1 })
	b := h.leader().Backend()
	info, err := b.Acquire(soon(t), transport.AcquireRequest{Name: "a/x", Owner: "o", Timeout: time.Hour, Account: on("victim")})
	if err != nil {
		t.Fatal(err)
	}
	for _, identity := range []string{"victim", "another"} {
		if _, err := b.Touch(soon(t), transport.TouchRequest{Name: "a/x", Token: info.Token, Account: on(identity)}); err != nil {
			t.Errorf("%s: %v", identity, err)
		}
	}
}
