package transport

import (
	"context"
	"errors"
	"net"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// Membership is what a [Backend] does besides whose cluster can change. Like those of a
// Backend, its methods return [sema.NotLeaderError] on a node that does not lead, and
// [sema.ErrMembership] for a change that would be unsafe.
type Membership interface {
	// Join takes a node in and returns the entry of the log that did, or one after it.
	Join(ctx context.Context, req JoinRequest) (index uint64, err error)
	// Member returns the name of the member that a node is, [sema.ErrNotFound] if it is none.
	Member(ctx context.Context, id string) (name string, err error)
	// Remove takes a node out, for good.
	Remove(ctx context.Context, req RemoveRequest) error
	// TransferLeadership makes another node lead, the one with this id unless it is "",
	// and returns who leads then.
	TransferLeadership(ctx context.Context, id string) (leader string, err error)
}

// JoinRequest asks for a member, or for a new address of one.
type JoinRequest struct {
	ID string
	// Incarnation tells disks apart, so that a node whose disk was lost does not vote
	// in the stead of the one that it was. Zero: a founding member, which has one already.
	Incarnation [16]byte
	RaftAddr    string // host:port at which other nodes reach it
	Level       int    // up to which it knows log entries, see package fsm
	Moves       bool   // it is a member, and only RaftAddr may be new; [sema.ErrNotFound] if it is none
}

// Validate reports every fault of the request, joined.
func (r JoinRequest) Validate() error {
	return errors.Join(validateNodeID(r.ID), validateNodeAddr(r.RaftAddr))
}

// RemoveRequest asks for a member less.
type RemoveRequest struct {
	ID string
	// Member is its name. If the node is another one by then, which has joined with a new
	// disk, there is nothing to remove: [sema.ErrNotFound]. Empty: whichever it is.
	Member string
	Force  bool // even if those that are left and answer are no majority
	// Audited is true if the node where the client came in writes the line of the audit log,
	// with who it was.
	Audited bool
}

// Validate reports every fault of the request, joined.
func (r RemoveRequest) Validate() error {
	return errors.Join(validateNodeID(r.ID), validateMember(r.Member))
}

// maxMemberBytes is room for a node's id and its disk's incarnation.
const maxMemberBytes = 128

func validateMember(name string) error {
	if len(name) > maxMemberBytes {
		return &sema.InvalidError{Field: "member", Value: name[:maxMemberBytes], Limit: "a member's name of at most 128 bytes"}
	}
	return nil
}

func validateNodeID(id string) error {
	if len(id) < 1 || len(id) > 64 {
		return &sema.InvalidError{Field: "id", Value: id[:min(len(id), 64)], Limit: "a node's id of 1 to 64 bytes"}
	}
	return nil
}

func validateNodeAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if n, parseErr := strconv.ParseUint(port, 10, 16); err != nil || parseErr != nil || n == 0 || host == "" || len(addr) > 300 {
		return &sema.InvalidError{Field: "raft-addr", Value: addr[:min(len(addr), 300)], Limit: "HOST:PORT"}
	}
	return nil
}

// membership is the backend, if its cluster can change.
func (h *handler) membership() (Membership, error) {
	if m, ok := h.backend.(Membership); ok {
		return m, nil
	}
	return nil, status.Error(codes.Unimplemented, "the members of this cluster cannot change")
}

// Join implements semav1.SemaServer.
func (h *handler) Join(ctx context.Context, m *semav1.JoinRequest) (*semav1.JoinResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.Join, func() (*semav1.JoinResponse, error) {
		if h.fromClients {
			return nil, status.Error(codes.PermissionDenied, "nodes join at the raft port")
		}
		req := JoinRequest{ID: m.GetId(), RaftAddr: m.GetRaftAddr(), Moves: m.GetMoves(), Level: max(1, int(m.GetLevel()))}
		if n := copy(req.Incarnation[:], m.GetIncarnation()); n != len(m.GetIncarnation()) || n != 0 && n != len(req.Incarnation) {
			return nil, &sema.InvalidError{Field: "incarnation", Value: strconv.Itoa(len(m.GetIncarnation())) + " bytes", Limit: "none, or 16 bytes"}
		}
		if err := req.Validate(); err != nil {
			return nil, err
		}
		b, err := h.membership()
		if err != nil {
			return nil, err
		}
		index, err := b.Join(ctx, req)
		return &semav1.JoinResponse{Index: index}, err
	})
}

// FindMember implements semav1.SemaServer.
func (h *handler) FindMember(ctx context.Context, m *semav1.FindMemberRequest) (*semav1.FindMemberResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.FindMember, func() (*semav1.FindMemberResponse, error) {
		if err := validateNodeID(m.GetId()); err != nil {
			return nil, err
		}
		b, err := h.membership()
		if err != nil {
			return nil, err
		}
		name, err := b.Member(ctx, m.GetId())
		return &semav1.FindMemberResponse{Member: name}, err
	})
}

// Remove implements semav1.SemaServer.
func (h *handler) Remove(ctx context.Context, m *semav1.RemoveRequest) (*semav1.RemoveResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.Remove, func() (*semav1.RemoveResponse, error) {
		req := RemoveRequest{ID: m.GetId(), Member: m.GetMember(), Force: m.GetForce(), Audited: h.account(ctx) != nil}
		if err := req.Validate(); err != nil {
			return nil, err
		}
		b, err := h.membership()
		if err != nil {
			return nil, err
		}
		return &semav1.RemoveResponse{}, b.Remove(ctx, req)
	})
}

// TransferLeadership implements semav1.SemaServer.
func (h *handler) TransferLeadership(ctx context.Context, m *semav1.TransferLeadershipRequest) (*semav1.TransferLeadershipResponse, error) {
	return serve(ctx, h, m, semav1.SemaClient.TransferLeadership, func() (*semav1.TransferLeadershipResponse, error) {
		if id := m.GetId(); id != "" {
			if err := validateNodeID(id); err != nil {
				return nil, err
			}
		}
		b, err := h.membership()
		if err != nil {
			return nil, err
		}
		leader, err := b.TransferLeadership(ctx, m.GetId())
		return &semav1.TransferLeadershipResponse{Id: leader}, err
	})
}

// Join implements semav1.SemaClient.
func (l *Local) Join(ctx context.Context, m *semav1.JoinRequest, _ ...grpc.CallOption) (*semav1.JoinResponse, error) {
	return l.handler.Join(inProcess(ctx, nil), m)
}

// FindMember implements semav1.SemaClient.
func (l *Local) FindMember(ctx context.Context, m *semav1.FindMemberRequest, _ ...grpc.CallOption) (*semav1.FindMemberResponse, error) {
	return l.handler.FindMember(inProcess(ctx, nil), m)
}

// Remove implements semav1.SemaClient.
func (l *Local) Remove(ctx context.Context, m *semav1.RemoveRequest, _ ...grpc.CallOption) (*semav1.RemoveResponse, error) {
	return l.handler.Remove(inProcess(ctx, nil), m)
}

// TransferLeadership implements semav1.SemaClient.
func (l *Local) TransferLeadership(ctx context.Context, m *semav1.TransferLeadershipRequest, _ ...grpc.CallOption) (*semav1.TransferLeadershipResponse, error) {
	return l.handler.TransferLeadership(inProcess(ctx, nil), m)
}
