package cluster

import (
	"io"
	"strings"

	"github.com/hashicorp/raft"
)

// addressed is the address of a member, with its name: so what is meant for a member
// does not reach another one that has its address now.
func addressed(member raft.ServerID, addr raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(string(member) + "=" + string(addr))
}

// split is the inverse.
func split(addr raft.ServerAddress) (member, hostPort string) {
	member, hostPort, ok := strings.Cut(string(addr), "=")
	if !ok {
		return "", string(addr)
	}
	return member, hostPort
}

// EncodePeer implements [raft.Transport]: by it a node remembers whom it gave its vote, so
// it must tell apart members that had one address after the other.
func (t *raftTransport) EncodePeer(id raft.ServerID, addr raft.ServerAddress) []byte {
	return []byte(addressed(id, addr))
}

// DecodePeer implements [raft.Transport].
func (t *raftTransport) DecodePeer(b []byte) raft.ServerAddress {
	_, hostPort := split(raft.ServerAddress(b))
	return raft.ServerAddress(hostPort)
}

// RequestVote implements [raft.Transport].
func (t *raftTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, addressed(id, target), args, resp)
}

// RequestPreVote implements [raft.WithPreVote].
func (t *raftTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, addressed(id, target), args, resp)
}

// InstallSnapshot implements [raft.Transport].
func (t *raftTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.reach(id, true, func() error {
		return t.NetworkTransport.InstallSnapshot(id, addressed(id, target), args, resp, data)
	})
}

// TimeoutNow implements [raft.Transport].
func (t *raftTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, addressed(id, target), args, resp)
}
