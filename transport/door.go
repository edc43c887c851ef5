package transport

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// Introduction says who asks at a [Door].
type Introduction struct {
	ID          string
	Incarnation [16]byte
	Member      string // as which it is a member; "": of none yet
}

// Identity is who a node is, and what it knows of who asks.
type Identity struct {
	ID          string
	Incarnation [16]byte // of its disk
	ClusterID   [16]byte // zero: not known yet
	ClusterName string
	Founders    string   // as ID=HOST:PORT,...
	Restored    string   // what the cluster was made of, if that was a backup
	Disks       string   // of the founders, as ID=hexadecimal,...; "": the cluster is being founded
	Member      string   // as which it is a member; "": it takes no part yet
	Founded     bool     // it has taken part in its cluster, and may have voted
	Known       [16]byte // the disk with which the asker founded the cluster; zero: not known
	// MembershipIndex is the entry of the log that has the membership of which IsMember
	// tells whether the asker is part. It is committed.
	MembershipIndex uint64
	IsMember        bool
	LeaderRaftAddr  string // "": none is known
	Level           int    // up to which it knows log entries
}

// Door answers those who are not members yet, or may be no more.
type Door interface {
	Identify(in Introduction) Identity
}

// maxDoorBytes bounds a message at the door: a list of founders fits.
const maxDoorBytes = 64 << 10

// DoorServer answers at [GuestStream]. Whoever reaches the port may ask.
type DoorServer struct{ grpc *grpc.Server }

// NewDoorServer returns a DoorServer that is not serving yet.
func NewDoorServer(d Door) *DoorServer {
	s := &DoorServer{grpc.NewServer(
		grpc.MaxRecvMsgSize(4<<10),
		grpc.MaxConcurrentStreams(16),
		grpc.ConnectionTimeout(3*time.Second),
		grpc.MaxHeaderListSize(4<<10),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 10 * time.Second, MaxConnectionAge: 10 * time.Second, MaxConnectionAgeGrace: time.Second, Time: 10 * time.Second, Timeout: 5 * time.Second}),
	)}
	semav1.RegisterDoorServer(s.grpc, doorHandler{door: d})
	return s
}

// Serve answers on the listener until Stop, as [Server.Serve] does.
func (s *DoorServer) Serve(lis net.Listener) error { return untilStopped(s.grpc.Serve(lis)) }

// Stop ends everything at once, and waits. It is idempotent.
func (s *DoorServer) Stop() { s.grpc.Stop() }

type doorHandler struct {
	semav1.UnimplementedDoorServer
	door Door
}

// Identify implements semav1.DoorServer.
func (h doorHandler) Identify(_ context.Context, m *semav1.IdentifyRequest) (*semav1.IdentifyResponse, error) {
	in := Introduction{ID: m.GetId(), Incarnation: incarnation(m.GetIncarnation()), Member: m.GetMember()}
	if err := validateNodeID(in.ID); err != nil {
		return nil, ErrorToStatus(err)
	}
	i := h.door.Identify(in)
	resp := &semav1.IdentifyResponse{Id: i.ID, Incarnation: i.Incarnation[:], ClusterName: i.ClusterName, Founders: i.Founders, Restored: i.Restored, FounderDisks: i.Disks, Member: i.Member, Founded: i.Founded,
		Known: i.Known[:], MembershipIndex: i.MembershipIndex, IsMember: i.IsMember, LeaderRaftAddr: i.LeaderRaftAddr, Level: uint32(i.Level)}
	if i.ClusterID != [16]byte{} {
		resp.ClusterId = i.ClusterID[:]
	}
	return resp, nil
}

// incarnation reads one; what has another length is none.
func incarnation(b []byte) (i [16]byte) {
	if len(b) == len(i) {
		copy(i[:], b)
	}
	return i
}

// AskDoor asks the node at the end of a connection that dial makes. The connection is
// for this question only.
func AskDoor(ctx context.Context, addr string, dial func(ctx context.Context, addr string) (net.Conn, error), in Introduction) (Identity, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithContextDialer(dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxDoorBytes)))
	if err != nil {
		return Identity{}, err
	}
	defer conn.Close()
	m, err := semav1.NewDoorClient(conn).Identify(ctx, &semav1.IdentifyRequest{Id: in.ID, Incarnation: in.Incarnation[:], Member: in.Member})
	if err != nil {
		return Identity{}, ErrorFromStatus(err)
	}
	i := Identity{ID: m.GetId(), Incarnation: incarnation(m.GetIncarnation()), ClusterID: incarnation(m.GetClusterId()), ClusterName: m.GetClusterName(),
		Founders: m.GetFounders(), Restored: m.GetRestored(), Disks: m.GetFounderDisks(), Member: m.GetMember(), Founded: m.GetFounded(), Known: incarnation(m.GetKnown()), MembershipIndex: m.GetMembershipIndex(),
		IsMember: m.GetIsMember(), LeaderRaftAddr: m.GetLeaderRaftAddr(), Level: max(1, int(m.GetLevel()))}
	if validateNodeID(i.ID) != nil {
		return i, &sema.InvalidError{Field: "id", Value: i.ID[:min(len(i.ID), 64)], Limit: "a node's id"}
	}
	return i, nil
}
