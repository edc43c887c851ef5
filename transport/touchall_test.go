package transport_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/semanode/sema"
	"github.com/semanode/sema/internal/fakenode"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// touching is a node whose answer to many touches the test decides.
type touching struct {
	fakenode.Node
	outcomes []transport.TouchOutcome
}

func (n *touching) TouchAll(context.Context, transport.TouchAllRequest) ([]transport.TouchOutcome, error) {
	return n.outcomes, nil
}

func TestTouchAllAnswersForEachInOrder(t *testing.T) {
	leader, follower := serve(t, "n1", nil), serve(t, "n2", passing(t))
	follower.follows("n1", leader.addr)
	ctx := within(t, 20*time.Second)
	req := transport.TouchAllRequest{Attempt: sema.Attempt{Client: sema.ClientID(make16(7)), LowestOpen: 3}}
	for i := range 300 {
		m := acquireA()
		m.Name, m.Attempt = fmt.Sprint("n", i), nil
		held, err := leader.client.Acquire(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		h := transport.HoldID{Name: m.Name, Token: held.GetInfo().GetToken()}
		if i%3 == 0 {
			h.Token += 1000 // somebody else's by now
		}
		req.Holds = append(req.Holds, h)
	}
	for _, asked := range []*member{leader, follower} {
		resp, err := asked.client.TouchAll(ctx, transport.TouchAllToWire(req))
		if err != nil {
			t.Fatalf("through %s: %v", asked.id, err)
		}
		outcomes := transport.OutcomesFromWire(resp)
		if len(outcomes) != len(req.Holds) {
			t.Fatalf("through %s: %d answers to %d touches", asked.id, len(outcomes), len(req.Holds))
		}
		for i, o := range outcomes {
			gone := i%3 == 0
			touched := leader.Holder(req.Holds[i].Name).ExpiresAt
			if gone != errors.Is(o.Err, sema.ErrNotHeld) || !gone && (o.Err != nil || !o.ExpiresAt.Equal(touched)) {
				t.Errorf("through %s: touch %d: %+v, want gone %v, until %v", asked.id, i, o, gone, touched)
			}
		}
		requests := leader.Requests()
		if got := requests[len(requests)-1]; !reflect.DeepEqual(got, req) {
			t.Errorf("through %s: the leader was asked %+v, want %+v", asked.id, got, req)
		}
	}
}

// Where only a number travels, every error of the contract comes back as itself,
// and any other as "unknown": neither as success nor as failure.
func TestTheErrorOfOneTouchCrosses(t *testing.T) {
	n := new(touching)
	c := serveBackend(t, "n1", n, nil, nil).client
	var want []error
	add := func(err, comesBackAs error) {
		n.outcomes, want = append(n.outcomes, transport.TouchOutcome{Err: err}), append(want, comesBackAs)
	}
	add(nil, nil)
	for _, row := range crossing {
		add(row.sentinel, row.sentinel)
		add(fmt.Errorf("touch %q: %w", "a", row.sentinel), row.sentinel)
	}
	add(&sema.OutcomeUnknownError{Cause: sema.ErrNotHeld}, sema.ErrOutcomeUnknown)
	add(&sema.NotLeaderError{Leader: sema.Leader{ID: "n2"}}, sema.ErrNotLeader)
	add(errors.New("disk on fire"), sema.ErrOutcomeUnknown)
	add(context.DeadlineExceeded, sema.ErrOutcomeUnknown)
	resp, err := c.TouchAll(within(t, 20*time.Second), &semav1.TouchAllRequest{})
	if err != nil || len(resp.GetOutcomes()) != len(want) {
		t.Fatalf("%d answers, %v, want %d", len(resp.GetOutcomes()), err, len(want))
	}
	for i, got := range transport.OutcomesFromWire(resp) {
		if !errors.Is(got.Err, want[i]) {
			t.Errorf("%v came back as %v, want %v", n.outcomes[i].Err, got.Err, want[i])
		}
		for _, row := range crossing {
			if errors.Is(got.Err, row.sentinel) && row.sentinel != want[i] {
				t.Errorf("%v came back as %v, which matches %v", n.outcomes[i].Err, got.Err, row.sentinel)
			}
		}
	}
	for i, row := range crossing {
		if code := resp.GetOutcomes()[1+2*i].GetError(); code != row.code {
			t.Errorf("%v has code %d, want %d", row.sentinel, code, row.code)
		}
	}
}

func TestACodeFromTheFutureIsNoSuccess(t *testing.T) {
	m := &semav1.TouchAllResponse{Outcomes: []*semav1.TouchOutcome{{Error: 99}, {Error: -1}, nil}}
	got := transport.OutcomesFromWire(m)
	for i, number := range []string{"99", "-1"} {
		if got[i].Err == nil || !strings.Contains(got[i].Err.Error(), number) {
			t.Errorf("code %s became %v", number, got[i].Err)
		}
		for _, row := range crossing {
			if errors.Is(got[i].Err, row.sentinel) {
				t.Errorf("code %s matches %v", number, row.sentinel)
			}
		}
	}
	if got[2].Err != nil || !got[2].ExpiresAt.IsZero() {
		t.Errorf("an empty outcome became %+v", got[2])
	}
	if none := transport.OutcomesFromWire(nil); len(none) != 0 {
		t.Errorf("no answer became %+v", none)
	}
}

// manyHolds is a request that touches n holds with names of so many bytes.
func manyHolds(n, nameBytes int) *semav1.TouchAllRequest {
	m := new(semav1.TouchAllRequest)
	for range n {
		m.Holds = append(m.Holds, &semav1.Hold{Name: strings.Repeat("x", nameBytes), Token: 1})
	}
	return m
}

func TestTouchAllHasLimits(t *testing.T) {
	short := manyHolds(1, 1)
	short.Attempt = &semav1.Attempt{Client: make16(1)[:15]}
	none := manyHolds(1, 1)
	none.Attempt = &semav1.Attempt{LowestOpen: 1}
	bad := manyHolds(3, 1)
	bad.Holds[1].Name = "a\nb"
	node := serve(t, "n1", nil)
	for _, tc := range []struct {
		what  string
		m     *semav1.TouchAllRequest
		code  codes.Code
		field string
	}{
		{"more than there may be", manyHolds(transport.MaxTouches+1, 1), codes.InvalidArgument, "holds"},
		{"more than a message holds", manyHolds(transport.MaxTouches, 20), codes.ResourceExhausted, ""},
		{"a hold without a name", manyHolds(1, 0), codes.InvalidArgument, "name"},
		{"too long a name", manyHolds(2, sema.MaxNameBytes+1), codes.InvalidArgument, "name"},
		{"a bad name among others", bad, codes.InvalidArgument, "name"},
		{"a client of 15 bytes", short, codes.InvalidArgument, "attempt.client"},
		{"no client", none, codes.InvalidArgument, "attempt.client"},
	} {
		_, err := node.client.TouchAll(within(t, 20*time.Second), tc.m)
		field := ""
		var invalid *sema.InvalidError
		if errors.As(transport.ErrorFromStatus(err), &invalid) {
			field = invalid.Field
		}
		if status.Code(err) != tc.code || field != tc.field {
			t.Errorf("%s (%d bytes): %v with field %q, want %v and %q", tc.what, proto.Size(tc.m), err, field, tc.code, tc.field)
		}
	}
	if n := len(node.Requests()); n != 0 {
		t.Errorf("the backend was asked %d times", n)
	}
}

// As many as there may be fit into one message there and one back.
func TestTouchAllOfAsManyAsThereMayBe(t *testing.T) {
	n := &touching{outcomes: make([]transport.TouchOutcome, transport.MaxTouches)}
	for i := range n.outcomes {
		n.outcomes[i].ExpiresAt = cannedTime.Add(time.Duration(i))
	}
	leader, follower := serveBackend(t, "n1", n, nil, nil), serve(t, "n2", passing(t))
	follower.follows("n1", leader.addr)
	resp, err := follower.client.TouchAll(within(t, 20*time.Second), manyHolds(transport.MaxTouches, 8))
	if err != nil {
		t.Fatal(err)
	}
	if got := transport.OutcomesFromWire(resp); !reflect.DeepEqual(got, n.outcomes) {
		t.Error("the answers came back changed")
	}
}
