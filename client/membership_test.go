package client_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// A removal asks which member is meant, once, and goes on with that one however often it is
// repeated.
func TestARemovalIsRepeatedAsItWas(t *testing.T) {
	lost := &sema.OutcomeUnknownError{Cause: errors.New("the answer was lost")}
	notFound := sema.ErrNotFound
	first := transport.RemoveRequest{ID: "n1", Member: "n1@1"}
	for _, tc := range []struct {
		what    string
		names   []string // of the member, one look after the other; "": the node does not tell
		answers []error  // to removals
		want    error
		sent    []transport.RemoveRequest
	}{
		{"at once", []string{"n1@1"}, []error{nil}, nil, []transport.RemoveRequest{first}},
		{"its answer is lost", []string{"n1@1", "n1@2"}, []error{lost, lost, nil}, nil, []transport.RemoveRequest{first, first, first}},
		{"its answer is lost, and it is another one by then", []string{"n1@1", "n1@2"}, []error{lost, notFound}, nil, []transport.RemoveRequest{first, first}},
		{"it was removed by somebody else", []string{"n1@1", "n1@1"}, []error{notFound}, sema.ErrNotFound, []transport.RemoveRequest{first}},
		{"it has joined with another disk", []string{"n1@1", "n1@2"}, []error{notFound}, sema.ErrMembership, []transport.RemoveRequest{first}},
		{"by a node of a version before", []string{""}, []error{nil}, nil, []transport.RemoveRequest{{ID: "n1"}}},
		{"no member, by a node of a version before", []string{""}, []error{notFound}, sema.ErrNotFound, []transport.RemoveRequest{{ID: "n1"}}},
	} {
		t.Run(tc.what, func(t *testing.T) {
			t.Parallel()
			node := serve(t, nil)
			node.names = tc.names
			answers := slices.Clone(tc.answers)
			var sent []transport.RemoveRequest
			node.Intercept(func(_ context.Context, req any, apply func() error) error {
				removal, ok := req.(transport.RemoveRequest)
				if !ok {
					return apply()
				}
				sent = append(sent, removal)
				err := answers[0]
				answers = answers[1:]
				return err
			})
			if err := dial(t, node.addr).RemoveNode(within(t, 20*time.Second), "n1", false); !errors.Is(err, tc.want) {
				t.Errorf("it came to %v, want %v", err, tc.want)
			}
			if !slices.Equal(sent, tc.sent) {
				t.Errorf("it sent %+v, want %+v", sent, tc.sent)
			}
		})
	}
}

// Member implements [transport.Membership].
func (m *member) Member(ctx context.Context, id string) (name string, err error) {
	if len(m.names) == 0 {
		return m.Node.Member(ctx, id)
	}
	if name = m.names[0]; name == "" {
		return "", status.Error(codes.Unimplemented, "unknown method FindMember")
	}
	m.names = m.names[1:]
	return name, nil
}
