package transport

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// InfoToWire turns an Info into its message.
func InfoToWire(info sema.Info) *semav1.Info {
	return &semav1.Info{
		Status:    semav1.Status(info.Status),
		Name:      info.Name,
		Owner:     info.Owner,
		Timeout:   durationpb.New(info.Timeout),
		Token:     info.Token,
		ExpiresAt: timeToWire(info.ExpiresAt),
		CreatedAt: timeToWire(info.CreatedAt),
		UpdatedAt: timeToWire(info.UpdatedAt),
		Waiting:   uint32(info.Waiting),
	}
}

// InfoFromWire is the inverse of InfoToWire. What the message lacks is zero.
func InfoFromWire(m *semav1.Info) sema.Info {
	return sema.Info{
		Status:    statusFromWire(m.GetStatus()),
		Name:      m.GetName(),
		Owner:     m.GetOwner(),
		Timeout:   m.GetTimeout().AsDuration(),
		Token:     m.GetToken(),
		ExpiresAt: timeFromWire(m.GetExpiresAt()),
		CreatedAt: timeFromWire(m.GetCreatedAt()),
		UpdatedAt: timeFromWire(m.GetUpdatedAt()),
		Waiting:   int(m.GetWaiting()),
	}
}

// statusFromWire keeps an unknown number recognisably unknown.
func statusFromWire(s semav1.Status) sema.Status {
	if s < 0 || s > 255 {
		return 0
	}
	return sema.Status(s)
}

func timeToWire(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timeFromWire(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// AttemptToWire turns an attempt into its message, nil for none.
func AttemptToWire(a sema.Attempt, retry bool) *semav1.Attempt {
	if a.Client.IsZero() {
		return nil
	}
	return &semav1.Attempt{Client: a.Client[:], Seq: a.Seq, LowestOpen: a.LowestOpen, Retry: retry}
}

func attemptFromWire(m *semav1.Attempt) (sema.Attempt, error) {
	a := sema.Attempt{Seq: m.GetSeq(), LowestOpen: m.GetLowestOpen()}
	switch len(m.GetClient()) {
	case 0:
	case len(a.Client):
		copy(a.Client[:], m.GetClient())
	default:
		return a, invalidInt("attempt.client", len(m.GetClient()), "16 bytes")
	}
	return a, nil
}

// infosFromWire and infosToWire convert pages.
func infosToWire(infos []sema.Info) []*semav1.Info {
	out := make([]*semav1.Info, len(infos))
	for i, info := range infos {
		out[i] = InfoToWire(info)
	}
	return out
}

// InfosFromWire converts a page.
func InfosFromWire(ms []*semav1.Info) []sema.Info {
	out := make([]sema.Info, len(ms))
	for i, m := range ms {
		out[i] = InfoFromWire(m)
	}
	return out
}

func lineToWire(line []sema.Ticket) []*semav1.Ticket {
	out := make([]*semav1.Ticket, len(line))
	for i, t := range line {
		out[i] = &semav1.Ticket{Position: uint32(t.Position), Owner: t.Owner, Since: timeToWire(t.Since)}
	}
	return out
}

// LineFromWire converts the first in a line.
func LineFromWire(ms []*semav1.Ticket) []sema.Ticket {
	var out []sema.Ticket
	for _, m := range ms {
		out = append(out, sema.Ticket{Position: int(m.GetPosition()), Owner: m.GetOwner(), Since: timeFromWire(m.GetSince())})
	}
	return out
}

func linesToWire(lines map[string][]sema.Ticket) []*semav1.Line {
	var out []*semav1.Line
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		out = append(out, &semav1.Line{Name: name, Tickets: lineToWire(lines[name])})
	}
	return out
}

// LinesFromWire converts the lines of a page.
func LinesFromWire(ms []*semav1.Line) map[string][]sema.Ticket {
	var out map[string][]sema.Ticket
	for _, m := range ms {
		if out == nil {
			out = map[string][]sema.Ticket{}
		}
		out[m.GetName()] = LineFromWire(m.GetTickets())
	}
	return out
}

// TouchAllToWire turns a request into its message.
func TouchAllToWire(req TouchAllRequest) *semav1.TouchAllRequest {
	m := &semav1.TouchAllRequest{Attempt: AttemptToWire(req.Attempt, false), Holds: make([]*semav1.Hold, len(req.Holds))}
	for i, h := range req.Holds {
		m.Holds[i] = &semav1.Hold{Name: h.Name, Token: h.Token}
	}
	return m
}

func touchAllFromWire(m *semav1.TouchAllRequest) (TouchAllRequest, error) {
	attempt, err := attemptFromWire(m.GetAttempt())
	req := TouchAllRequest{Attempt: attempt, Holds: make([]HoldID, len(m.GetHolds()))}
	for i, h := range m.GetHolds() {
		req.Holds[i] = HoldID{Name: h.GetName(), Token: h.GetToken()}
	}
	return req, err
}

func outcomesToWire(outcomes []TouchOutcome) *semav1.TouchAllResponse {
	m := &semav1.TouchAllResponse{Outcomes: make([]*semav1.TouchOutcome, len(outcomes))}
	for i, o := range outcomes {
		m.Outcomes[i] = &semav1.TouchOutcome{Error: codeOf(o.Err), ExpiresAt: timeToWire(o.ExpiresAt)}
	}
	return m
}

// OutcomesFromWire converts the answers to many touches.
func OutcomesFromWire(m *semav1.TouchAllResponse) []TouchOutcome {
	out := make([]TouchOutcome, len(m.GetOutcomes()))
	for i, o := range m.GetOutcomes() {
		out[i] = TouchOutcome{ExpiresAt: timeFromWire(o.GetExpiresAt()), Err: errorOfCode(o.GetError())}
	}
	return out
}

// StatusToWire turns a cluster's status into its message.
func StatusToWire(st ClusterStatus) *semav1.StatusResponse {
	m := &semav1.StatusResponse{ClusterId: st.ClusterID}
	for _, n := range st.Nodes {
		m.Nodes = append(m.Nodes, &semav1.Node{Id: n.ID, RaftAddr: n.RaftAddr, GrpcAddr: n.GRPCAddr, Leader: n.Leader,
			State: n.State, Term: n.Term, CommitIndex: n.CommitIndex, AppliedIndex: n.AppliedIndex, Error: n.Err, Voter: n.Voter})
	}
	return m
}

// StatusFromWire is the inverse of StatusToWire.
func StatusFromWire(m *semav1.StatusResponse) ClusterStatus {
	st := ClusterStatus{ClusterID: m.GetClusterId()}
	for _, n := range m.GetNodes() {
		st.Nodes = append(st.Nodes, NodeStatus{ID: n.GetId(), RaftAddr: n.GetRaftAddr(), GRPCAddr: n.GetGrpcAddr(), Leader: n.GetLeader(),
			State: n.GetState(), Term: n.GetTerm(), CommitIndex: n.GetCommitIndex(), AppliedIndex: n.GetAppliedIndex(), Err: n.GetError(), Voter: n.GetVoter()})
	}
	return st
}
