package client

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/semanode/sema"
)

func prepare(t *testing.T, endpoints ...string) *nodes {
	t.Helper()
	ns, err := newNodes(Config{Endpoints: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.close() })
	return ns
}

func next(t *testing.T, ns *nodes) *node {
	t.Helper()
	n, _, err := ns.pick(nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEndpointsAreAskedInTurn(t *testing.T) {
	ns := prepare(t, "n1:1", "n2:1", "n3:1")
	for round := range 3 {
		for _, want := range []string{"n1:1", "n2:1", "n3:1"} {
			n := next(t, ns)
			if n.addr != want {
				t.Fatalf("round %d: asked %s, want %s", round, n.addr, want)
			}
			ns.failed(n, round > 0) // once all are avoided, they are asked all the same
		}
	}
	ns = prepare(t, "n1:1", "n2:1", "n3:1")
	ns.failed(next(t, ns), true)  // n1 is avoided
	ns.failed(next(t, ns), false) // n2 is not
	ns.failed(next(t, ns), false) // nor n3
	if n := next(t, ns); n.addr != "n2:1" {
		t.Errorf("asked %s, want n2:1: n1 is avoided", n.addr)
	}
}

// Other calls that fail at the same time must not make one call miss an endpoint.
func TestEachCallAsksEveryEndpoint(t *testing.T) {
	ns := prepare(t, "n1:1", "n2:1", "n3:1")
	for round := range 3 {
		var spent []*node
		for range 3 {
			n, newRound, err := ns.pick(spent)
			if err != nil || newRound || slices.Contains(spent, n) {
				t.Fatalf("round %d: asked %s again (new round: %v, %v)", round, n.addr, newRound, err)
			}
			spent = append(spent, n)
			ns.failed(n, true)
			ns.failed(ns.endpoints[2], true) // by another call: it would be n1's turn again
		}
		if _, newRound, _ := ns.pick(spent); !newRound {
			t.Errorf("round %d does not end", round)
		}
	}
}

// Hints come from the network. They may be anything, and there may be any number
// of them.
func TestHintsAreCheckedAndBounded(t *testing.T) {
	ns := prepare(t, "n1:1")
	first := next(t, ns)
	for _, hint := range []string{"", "nonsense", ":7400", "n2:0", "n2:99999", "unix:/etc", first.addr} {
		if ns.redirected(first, hint) {
			t.Errorf("hint %q was followed", hint)
		}
	}
	ns.answered(first, "nonsense")
	if len(ns.hinted) != 0 {
		t.Errorf("remembered: %d addresses", len(ns.hinted))
	}
	for i := range 100 {
		hint := fmt.Sprintf("n%d:7400", i)
		if !ns.redirected(next(t, ns), hint) || next(t, ns).addr != hint {
			t.Errorf("hint %s was not followed", hint)
		}
	}
	if len(ns.hinted) != maxHinted {
		t.Errorf("remembered: %d addresses, want %d", len(ns.hinted), maxHinted)
	}
}

func TestAClosedClientHasNoNodes(t *testing.T) {
	ns := prepare(t, "n1:1")
	n := next(t, ns)
	if err := ns.close(); err != nil {
		t.Error(err)
	}
	ns.answered(n, "n2:1") // a call that was under way
	ns.failed(n, true)
	if ns.redirected(n, "n2:1") {
		t.Error("a closed client was redirected")
	}
	if _, _, err := ns.pick(nil); !errors.Is(err, sema.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
