package access_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/access"
	"github.com/semanode/sema/fsm"
)

// clientsFor is a file with identities a, whose limits these are, and b, which has a limit of
// two clients.
func clientsFor(limits string) string {
	return `
identities:
  - {name: a, tokens: ["` + hash(1) + `"], limits: {` + limits + `}}
  - {name: b, tokens: ["` + hash(2) + `"], limits: {clients: 2}}
rules: [{who: [a, b], names: [""], rights: [acquire]}]
`
}

// crowd makes calls as clients.
type crowd struct {
	*access.Control
	t    *testing.T
	file string
}

func gather(t *testing.T, limits string) *crowd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "access.yaml")
	write(t, file, clientsFor(limits))
	c, _ := open(t, file, time.Hour)
	return &crowd{c, t, file}
}

func clientID(n int) (id sema.ClientID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func (c *crowd) call(who string, client int) error {
	return c.Client(c.Policy().ByName(who), clientID(client))
}

// pass wants all of these clients to be let in.
func (c *crowd) pass(step, who string, clients ...int) {
	c.t.Helper()
	for _, n := range clients {
		if err := c.call(who, n); err != nil {
			c.t.Errorf("%s: client %d of %s: %v", step, n, who, err)
		}
	}
}

// refuse wants none of these to be, for so long.
func (c *crowd) refuse(step, who string, most uint64, wait time.Duration, clients ...int) {
	c.t.Helper()
	for _, n := range clients {
		var limit *sema.LimitError
		if err := c.call(who, n); !errors.As(err, &limit) || *limit != (sema.LimitError{Of: "clients of identity " + who, Most: most, RetryAfter: wait}) {
			c.t.Errorf("%s: client %d of %s: %v, want a limit of %d for %v", step, n, who, err, most, wait)
		}
	}
}

func (c *crowd) reload(limits string) {
	c.t.Helper()
	write(c.t, c.file, clientsFor(limits))
	if err := c.Reload(); err != nil {
		c.t.Fatal(err)
	}
}

// remembers wants so many clients of a to be remembered.
func (c *crowd) remembers(step string, want int) {
	c.t.Helper()
	if got, _ := c.Clients("a"); got != want {
		c.t.Errorf("%s: %d clients of a are remembered, want %d", step, got, want)
	}
}

// TestClients: new clients are let in up to the limit, known ones always, and an hour or two
// after its last call one makes room.
func TestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(t, "clients: 3")
		c.pass("at first", "a", 1, 2, 3)
		c.refuse("beyond the limit", "a", 3, 2*time.Hour, 4, 5)
		c.pass("known", "a", 3, 2, 1)
		c.pass("of another identity", "b", 4, 5)
		c.refuse("of another identity, beyond its own limit", "b", 2, 2*time.Hour, 1)
		if err := c.Client(c.Policy().ByName("a"), sema.ClientID{}); err != nil {
			t.Errorf("no client: %v", err)
		}
		time.Sleep(time.Hour)
		c.pass("after an hour", "a", 1, 2)
		c.refuse("while all are remembered", "a", 3, time.Hour, 4)
		time.Sleep(time.Hour - time.Millisecond)
		c.refuse("just before the second turn", "a", 3, time.Second, 4)
		time.Sleep(time.Millisecond)
		c.pass("where one was silent for two hours", "a", 4)
		c.refuse("which was one, and is unknown now", "a", 3, time.Hour, 3, 5)
		c.pass("who spoke an hour ago", "a", 1, 2)
		time.Sleep(100 * time.Hour)
		c.pass("all were silent", "a", 6, 7, 8)
		c.refuse("beyond the limit again", "a", 3, 2*time.Hour, 1)
		c.remembers("at the end", 3)
	})
}

// TestClientsDoNotAddUp: clients that keep coming make no room for new ones, however long.
func TestClientsDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(t, "clients: 10")
		let := 0
		for hour := range 50 {
			for n := 10*hour + 9; n >= 0; n-- { // ten new ones, and all that there were
				if c.call("a", n+1) == nil && n >= 10*hour {
					let++
				}
			}
			if got, _ := c.Clients("a"); got > 10 {
				t.Fatalf("%d clients are remembered in hour %d", got, hour)
			}
			time.Sleep(time.Hour)
		}
		if let != 10 {
			t.Errorf("%d clients were let in, want the 10 that came first and kept coming", let)
		}
	})
}

// TestClientsOfAnotherLimit: a limit that is lowered takes nothing from who is known, one that
// is raised counts at once, and without a limit nobody is remembered.
func TestClientsOfAnotherLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := gather(t, "clients: 3")
		c.pass("at first", "a", 1, 2, 3)
		before := c.Policy().ByName("a")
		c.reload("clients: 1")
		c.pass("known, with a lower limit", "a", 1, 2, 3)
		c.refuse("new, with a lower limit", "a", 1, 2*time.Hour, 4)
		c.reload("clients: 4")
		c.pass("with a higher limit", "a", 4)
		c.remembers("with a higher limit", 4)
		c.reload("holds: 1")
		c.pass("without a limit", "a", 1, 2, 3, 4, 5, 6, 7)
		for n := range 10 { // judged by the rules before, and late
			if err := c.Client(before, clientID(n+1)); err != nil {
				t.Errorf("by rules that are gone: %v", err)
			}
		}
		if of, identities := c.Clients("a"); of != 0 || identities != 0 {
			t.Errorf("%d clients are remembered of who has no limit, and those of %d identities", of, identities)
		}
	})
}

// TestClientsOfManyIdentities: who is not in the file any more is forgotten, so what is
// remembered is bounded by the file.
func TestClientsOfManyIdentities(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "access.yaml")
	rules := func(n int) string {
		return fmt.Sprintf("identities: [{name: i%d, tokens: [%q]}]\nrules: [{who: [\"*\"], names: [x], rights: [read]}]\nlimits: {clients: 5}\n", n, hash(1))
	}
	write(t, file, rules(0))
	c, _ := open(t, file, time.Hour)
	for n := range 10 {
		write(t, file, rules(n))
		if err := c.Reload(); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("i", n)
		for client := range 20 {
			if err := c.Client(c.Policy().ByName(name), clientID(client+1)); (err == nil) != (client < 5) {
				t.Errorf("client %d of %s: %v", client, name, err)
			}
		}
		if of, identities := c.Clients(name); of != 5 || identities != 1 {
			t.Errorf("%d clients of %s are remembered, and those of %d identities", of, name, identities)
		}
	}
}

// TestClientsAtOnce: however many come at once, the limit is the limit.
func TestClientsAtOnce(t *testing.T) {
	t.Parallel()
	c := gather(t, "clients: 100")
	var let atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for worker := range 8 {
		wg.Go(func() {
			<-begin
			for n := range 1000 {
				if c.call("a", worker*1000+n+1) == nil {
					let.Add(1)
				}
				_ = c.call("b", n+1)
			}
		})
	}
	close(begin)
	for range 20 {
		c.reload("clients: 100, holds: 1")
		c.reload("clients: 100")
	}
	wg.Wait()
	if let.Load() != 100 {
		t.Errorf("%d clients were let in, want 100", let.Load())
	}
	if of, _ := c.Clients("b"); of != 2 {
		t.Errorf("%d clients of b are remembered, want 2", of)
	}
}

// TestKnownClientsCostNothing: no allocation for who is known.
func TestKnownClientsCostNothing(t *testing.T) {
	c := gather(t, "clients: 1000")
	id := c.Policy().ByName("a")
	for n := range 1000 {
		c.pass("at first", "a", n+1)
	}
	n := 0
	if allocs := testing.AllocsPerRun(1000, func() {
		n++
		if err := c.Client(id, clientID(n%1000+1)); err != nil {
			t.Fatal(err)
		}
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestClientRetention: what is forgotten here is forgotten by the state machine.
func TestClientRetention(t *testing.T) {
	if access.ClientRetention != fsm.ClientRetention {
		t.Errorf("clients are remembered for %v here, and for %v by the state machine", access.ClientRetention, fsm.ClientRetention)
	}
}
