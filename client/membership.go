package client

import (
	"context"
	"errors"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// RemoveNode takes a node out of the cluster, for good: it stops, and what it has on
// disk is of no use any more. A node that leads hands leadership over first. It returns
// [sema.ErrNotFound] for what is no member, and [sema.ErrMembership] if those that
// would be left and answer were no majority, unless force is set. It is for
// administrators.
func (c *Client) RemoveNode(ctx context.Context, id string, force bool) error {
	if err := (transport.RemoveRequest{ID: id}).Validate(); err != nil {
		return err
	}
	_, repeat, err := unary(ctx, c.caller, writes, &semav1.RemoveRequest{Id: id, Force: force}, semav1.SemaClient.Remove)
	if repeat && errors.Is(err, sema.ErrNotFound) {
		return nil // most likely an earlier try has done it
	}
	return err
}

// TransferLeadership makes the node with this id lead, or any other than the one that
// leads if it is "", and returns who leads then. It returns [sema.ErrNotFound] for what
// is no member, and [sema.ErrMembership] if that node cannot lead. It is for
// administrators.
func (c *Client) TransferLeadership(ctx context.Context, id string) (leader string, err error) {
	resp, _, err := unary(ctx, c.caller, writes, &semav1.TransferLeadershipRequest{Id: id}, semav1.SemaClient.TransferLeadership)
	return resp.GetId(), err
}
