package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/semanode/sema/transport"
)

// members are the ids of all members, with a vote or without, as the leader has them.
func (h *harness) members() (ids []string) {
	h.t.Helper()
	st, err := h.leader().Backend().Status(context.Background(), transport.StatusRequest{})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, n := range st.Nodes {
		ids = append(ids, n.ID)
	}
	return ids
}

// TestJoiningIsKilled ends a node at many moments of its joining, as a power cut would,
// and starts it again: it becomes one member with a vote, and nothing else is left.
func TestJoiningIsKilled(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 1, nil)
	for i := range 4 {
		id := fmt.Sprintf("n%d", i+2)
		h.joins(id)
		for cut := range 3 {
			h.start(id)
			<-time.After(time.Duration(i*7+cut*40) * time.Millisecond) // the moment is what differs
			h.kill(id)
		}
		h.start(id)
		h.becomes("n1", id)
		if got := h.members(); len(got) != 2 {
			t.Fatalf("the members are %v, want n1 and %s", got, id)
		}
		h.remove(id)
	}
}

// TestLeaderDiesWhileANodeJoins kills the leader as soon as it has taken a node in: the
// node gets its vote from the next one, whether it has heard of the first or not.
func TestLeaderDiesWhileANodeJoins(t *testing.T) {
	t.Parallel()
	h := startHarness(t, 3, nil)
	held := acquire(t, h.leader(), "kept", "me", time.Hour)
	for i, id := range []string{"n4", "n5"} {
		leader := h.leader().ID()
		h.joins(id)
		h.start(id)
		eventually(t, "the leader has taken in the node", func() error {
			if strings.Count(h.logs.String(), "member joined") <= i {
				return errors.New("it has not")
			}
			return nil
		})
		h.kill(leader)
		eventually(t, id+" has a vote", func() error {
			for _, got := range h.voters() {
				if got == id {
					return nil
				}
			}
			return errors.New("it has none")
		})
		h.start(leader)
	}
	h.becomes("n1", "n2", "n3", "n4", "n5")
	if info, err := h.leader().Get(context.Background(), "kept"); err != nil || info.Token != held.Token {
		t.Errorf("the hold is %+v, %v", info, err)
	}
}
