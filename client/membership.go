package client

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// RemoveNode takes a node out of the cluster, for good: it stops, and what it has on
// disk is of no use any more. A node that leads hands leadership over first. It returns
// [sema.ErrNotFound] for what is no member, and [sema.ErrMembership] if those that
// would be left and answer were no majority, unless force is set. It is for
// administrators.
//
// It removes the member that the node is when it is called, and asks for that one's name
// first: a node that was removed and has joined anew, with another disk, is another member,
// which neither a repeat nor a request that comes late takes out. If that has happened
// between the two, it returns [sema.ErrMembership]. Leaders from before members
// were removed by name take out whichever the node is by then.
func (c *Client) RemoveNode(ctx context.Context, id string, force bool) error {
	if err := (transport.RemoveRequest{ID: id}).Validate(); err != nil {
		return err
	}
	member, err := c.member(ctx, id)
	if err != nil {
		return err
	}
	_, repeat, err := unary(ctx, c.caller, writes, &semav1.RemoveRequest{Id: id, Force: force, Member: member}, semav1.SemaClient.Remove)
	switch {
	case !errors.Is(err, sema.ErrNotFound):
		return err
	case repeat: // that member is gone, most likely by an earlier try
		return nil
	case member == "":
		return err
	}
	if now, again := c.member(ctx, id); again == nil && now != member {
		return fmt.Errorf("%w: node %s has joined with another disk while it was to be removed: look whether that one is meant, and remove it then", sema.ErrMembership, id)
	}
	return err
}

// member returns the name of the member that a node is, "" if nodes are of a version that
// does not tell.
func (c *Client) member(ctx context.Context, id string) (name string, err error) {
	resp, _, err := unary(ctx, c.caller, reads, &semav1.FindMemberRequest{Id: id}, semav1.SemaClient.FindMember)
	if status.Code(err) == codes.Unimplemented {
		return "", nil
	}
	return resp.GetMember(), err
}

// TransferLeadership makes the node with this id lead, or any other than the one that
// leads if it is "", and returns who leads then. It returns [sema.ErrNotFound] for what
// is no member, and [sema.ErrMembership] if that node cannot lead. It is for
// administrators.
func (c *Client) TransferLeadership(ctx context.Context, id string) (leader string, err error) {
	resp, _, err := unary(ctx, c.caller, writes, &semav1.TransferLeadershipRequest{Id: id}, semav1.SemaClient.TransferLeadership)
	return resp.GetId(), err
}
