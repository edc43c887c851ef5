package transport_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// twoClients are the rules, with a limit on the clients of shipping and of limited.
var twoClients = strings.ReplaceAll(strings.Replace(rules, `names: [""], rights: [read]}`, `names: [""], rights: [read, acquire]}`, 1),
	"limits: {", "limits: {clients: 2, ")

// waysIn make a call on a connection in an exchange, or as one of its own.
func waysIn(t *testing.T, conn *grpc.ClientConn) map[string]func(*transport.Call) {
	s := transport.NewStream(conn)
	t.Cleanup(s.Close)
	told := func(sema.Place) {}
	return map[string]func(*transport.Call){
		"in an exchange": func(c *transport.Call) { s.Do(within(t, 20*time.Second), c, 0, told) },
		"of its own": func(c *transport.Call) {
			c.Answer = c.Unary(within(t, 20*time.Second), semav1.NewSemaClient(conn), told)
		},
	}
}

// as is an attempt of a client.
func as(client byte, seq uint64) sema.Attempt {
	return sema.Attempt{Client: sema.ClientID{client}, Seq: seq, LowestOpen: min(seq, 1)}
}

// attemptOf is what the node was asked last.
func attemptOf(req any) sema.Attempt {
	switch req := req.(type) {
	case transport.AcquireRequest:
		return req.Attempt
	case fakenode.Wait:
		return req.Attempt
	case transport.TouchRequest:
		return req.Attempt
	case transport.TouchAllRequest:
		return req.Attempt
	case transport.ReleaseRequest:
		return req.Attempt
	}
	return sema.Attempt{}
}

// TestClientsAreLimited: a client beyond the limit of its identity acquires nothing and undoes
// nothing; what it holds it keeps and gives back as no client.
func TestClientsAreLimited(t *testing.T) {
	const x, y = "shipping/x", "shipping/y"
	nobody, limit := sema.Attempt{}, &sema.LimitError{Of: "clients of identity shipping", Most: 2}
	for _, way := range []string{"in an exchange", "of its own"} {
		g := guard(t, true, nil)
		g.reload(twoClients)
		do := waysIn(t, g.as(shipping, nil))[way]
		var token uint64
		for _, step := range []struct {
			what   string
			method transport.Method
			name   string
			by     sema.Attempt
			undo   bool
			asked  sema.Attempt // of the node, if err is nil
			err    error
		}{
			{"an acquire by the first", transport.MethodAcquire, x, as(1, 1), false, as(1, 1), nil},
			{"a wait by the second", transport.MethodWait, y, as(2, 1), false, as(2, 1), nil},
			{"an acquire by a third", transport.MethodAcquire, x, as(3, 1), false, nobody, limit},
			{"a wait by a third", transport.MethodWait, x, as(3, 1), false, nobody, limit},
			{"an undo by a third", transport.MethodRelease, x, as(3, 1), true, nobody, limit},
			{"an undo by the first", transport.MethodRelease, y, as(1, 7), true, as(1, 7), nil},
			{"a touch by a third", transport.MethodTouch, x, as(3, 0), false, nobody, nil},
			{"a touch by the second", transport.MethodTouch, x, as(2, 0), false, as(2, 0), nil},
			{"a get", transport.MethodGet, x, as(3, 1), false, nobody, nil},
			{"a denial, which comes first", transport.MethodAcquire, "billing/1", as(3, 1), false, nobody, sema.ErrDenied},
			{"a release by a third", transport.MethodRelease, x, as(3, 1), false, nobody, nil},
			{"an acquire by no client", transport.MethodAcquire, x, nobody, false, nobody, nil},
		} {
			before := len(g.Requests())
			c := &transport.Call{Method: step.method, Name: step.name, Owner: "o", Timeout: time.Minute, Token: token, Attempt: step.by}
			if step.undo {
				c.Token = 0
			}
			do(c)
			if step.method == transport.MethodAcquire && c.Err == nil {
				token = c.Info.Token
			}
			asked, err := g.Requests()[before:], transport.ErrorFromStatus(c.Err)
			if !refusedAs(err, step.err) || step.err == nil && (len(asked) != 1 || attemptOf(asked[0]) != step.asked) || step.err != nil && len(asked) > 0 {
				t.Errorf("%s %s: %v, and the node was asked %+v; want %v, or it to be asked as %v", step.what, way, err, asked, step.err, step.asked)
			}
		}
	}
}

// refusedAs reports whether an error is the one that is wanted; of a limit, when to come again
// is of no matter, but for that it is said.
func refusedAs(err, want error) bool {
	var got, limit *sema.LimitError
	if errors.As(want, &limit) {
		return errors.As(err, &got) && got.Of == limit.Of && got.Most == limit.Most && got.RetryAfter > time.Hour
	}
	return errors.Is(err, want)
}

// TestClientsOfManyTouches: a TouchAll beyond the limit is carried out as no client, too, also
// where some of it is denied.
func TestClientsOfManyTouches(t *testing.T) {
	g := guard(t, true, nil)
	g.reload(twoClients)
	c := g.client(shipping)
	ctx := within(t, 20*time.Second)
	for client, want := range map[byte]sema.Attempt{1: as(1, 0), 2: as(2, 0)} {
		touchAll(t, ctx, g, c, client, want, "shipping/1")
	}
	touchAll(t, ctx, g, c, 3, sema.Attempt{}, "shipping/1")
	touchAll(t, ctx, g, c, 3, sema.Attempt{}, "shipping/1", "billing/1")
	touchAll(t, ctx, g, c, 1, as(1, 0), "shipping/1", "billing/1")
}

func touchAll(t *testing.T, ctx context.Context, g *guarded, c semav1.SemaClient, client byte, want sema.Attempt, names ...string) {
	t.Helper()
	m := &semav1.TouchAllRequest{Attempt: transport.AttemptToWire(as(client, 0), false)}
	for _, name := range names {
		m.Holds = append(m.Holds, &semav1.Hold{Name: name, Token: 1})
	}
	before := len(g.Requests())
	_, err := c.TouchAll(ctx, m)
	if asked := g.Requests()[before:]; err != nil || len(asked) != 1 || attemptOf(asked[0]) != want {
		t.Errorf("%v by client %d: the node was asked %+v, %v, want it to be as %v", names, client, asked, err, want)
	}
}

// TestClientsOfRefusedCalls: a call that comes too soon makes no client known.
func TestClientsOfRefusedCalls(t *testing.T) {
	for _, way := range []string{"in an exchange", "of its own"} {
		g := guard(t, true, nil)
		g.reload(twoClients)
		do := waysIn(t, g.as(limited, nil))[way]
		for range 15 { // far beyond the rate, of one a second
			do(&transport.Call{Method: transport.MethodTouch, Name: "x", Token: 1, Attempt: as(1, 0)})
		}
		acquire := func(client byte) error {
			c := &transport.Call{Method: transport.MethodAcquire, Name: "x", Owner: "o", Timeout: time.Minute, Attempt: as(client, 1)}
			do(c)
			return transport.ErrorFromStatus(c.Err)
		}
		for client := byte(2); client < 4; client++ {
			var limit *sema.LimitError
			if err := acquire(client); !errors.As(err, &limit) || !strings.HasPrefix(limit.Of, "requests") {
				t.Errorf("%s, beyond the rate: %v", way, err)
			}
		}
		g.reload(strings.Replace(twoClients, "requests-per-second: 1, burst: 5", "requests-per-second: 1000000", 1))
		if err := acquire(4); err != nil {
			t.Errorf("%s, the second that is let in: %v", way, err)
		}
		if err := acquire(5); !errors.Is(err, sema.ErrLimit) {
			t.Errorf("%s, the third: %v", way, err)
		}
	}
}

// TestJudgingClientsAllocatesNothing, as it allocates nothing without the limit.
func TestJudgingClientsAllocatesNothing(t *testing.T) {
	g := guard(t, false, nil)
	g.reload(twoClients)
	may := transport.MayCall(g.control, string(shipping))
	call := &transport.Call{Method: transport.MethodAcquire, Name: "shipping/1"}
	n := byte(0)
	if allocs := testing.AllocsPerRun(100, func() {
		n++
		call.Attempt = as(n%2+1, 1)
		if err := may(call); err != nil {
			t.Fatal(err)
		}
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
