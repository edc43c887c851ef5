package backup

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/transport/semav1"
)

// Source says where a backup was taken from.
type Source int

// The sources. Their numbers are part of the format.
const (
	Leader    Source = 1 // all that was acknowledged before is in it
	Stale     Source = 2 // a node's own state, which may have been behind
	Directory Source = 3 // a stopped node's log: what had reached it, also what was not acknowledged
)

// String returns the word for it, which is part of what the command line prints.
func (s Source) String() string {
	switch s {
	case Leader:
		return "leader"
	case Stale:
		return "stale"
	case Directory:
		return "directory"
	}
	return fmt.Sprintf("source %d", int(s))
}

// Header is what a backup says of itself.
type Header struct {
	ClusterID   [16]byte
	ClusterName string // may be empty
	NodeID      string // that it was taken from
	Source      Source
	Members     []Member // of the cluster, for people

	Taken time.Time // wall clock, for people
	Facts fsm.Facts // of the state in it
}

// Member is one node of the cluster that a backup was taken from.
type Member struct {
	ID, RaftAddr string
	Voter        bool
}

const (
	// maxHeaderBytes has room for as many members with the longest ids and names of
	// hosts. Small, because a message takes many times its size when it is decoded.
	maxHeaderBytes = 64 << 10
	maxMembers     = 100
	// farthest is beyond every index and term: a cluster goes on from those of its backup,
	// and they must not run over.
	farthest = 1 << 62
)

func (h Header) encode() ([]byte, error) {
	m := &semav1.BackupHeader{
		ClusterId:   h.ClusterID[:],
		ClusterName: h.ClusterName,
		NodeId:      h.NodeID,
		Source:      semav1.BackupSource(h.Source),
		Index:       h.Facts.Index,
		Term:        h.Facts.Term,
		Clock:       int64(h.Facts.Clock),
		Taken:       h.Taken.UnixNano(),
		LastToken:   h.Facts.LastToken,
		Holds:       uint64(h.Facts.Holds),
		Waiting:     uint64(h.Facts.Waiting),
		Clients:     uint64(h.Facts.Clients),
	}
	for _, member := range h.Members {
		m.Members = append(m.Members, &semav1.BackupMember{Id: member.ID, RaftAddr: member.RaftAddr, Voter: member.Voter})
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if len(body) > maxHeaderBytes || len(h.Members) > maxMembers {
		return nil, fmt.Errorf("header of %d bytes with %d members, at most %d with %d", len(body), len(h.Members), maxHeaderBytes, maxMembers)
	}
	return body, nil
}

func decodeHeader(body []byte) (Header, error) {
	var m semav1.BackupHeader
	if err := proto.Unmarshal(body, &m); err != nil {
		return Header{}, errors.New("its header is no message")
	}
	const most = 1 << 40 // holds and the like, so that they fit an int wherever it has 64 bits
	switch {
	case len(m.GetClusterId()) != 16:
		return Header{}, fmt.Errorf("its cluster id has %d bytes", len(m.GetClusterId()))
	case m.GetSource() < semav1.BackupSource_BACKUP_SOURCE_LEADER || m.GetSource() > semav1.BackupSource_BACKUP_SOURCE_DIRECTORY:
		return Header{}, fmt.Errorf("its source has the number %d, which this build does not know", m.GetSource())
	case m.GetClock() < 0:
		return Header{}, fmt.Errorf("its clock shows %d", m.GetClock())
	case max(m.GetIndex(), m.GetTerm()) >= farthest:
		return Header{}, fmt.Errorf("its last entry is %d of term %d, and both stay below %d", m.GetIndex(), m.GetTerm(), uint64(farthest))
	case max(m.GetHolds(), m.GetWaiting(), m.GetClients()) > most:
		return Header{}, fmt.Errorf("it says that it has %d holds, %d waiting and %d clients", m.GetHolds(), m.GetWaiting(), m.GetClients())
	case len(m.GetMembers()) > maxMembers:
		return Header{}, fmt.Errorf("it has %d members, at most %d", len(m.GetMembers()), maxMembers)
	}
	h := Header{
		ClusterID:   [16]byte(m.GetClusterId()),
		ClusterName: m.GetClusterName(),
		NodeID:      m.GetNodeId(),
		Source:      Source(m.GetSource()),
		Taken:       time.Unix(0, m.GetTaken()).UTC(),
		Facts: fsm.Facts{
			Index:     m.GetIndex(),
			Term:      m.GetTerm(),
			Clock:     fsm.Time(m.GetClock()),
			LastToken: m.GetLastToken(),
			Holds:     int(m.GetHolds()),
			Waiting:   int(m.GetWaiting()),
			Clients:   int(m.GetClients()),
		},
	}
	for _, member := range m.GetMembers() {
		h.Members = append(h.Members, Member{ID: member.GetId(), RaftAddr: member.GetRaftAddr(), Voter: member.GetVoter()})
	}
	return h, nil
}
