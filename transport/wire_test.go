package transport_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

func TestInfoCrossesUnchanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moment := func(label string) time.Time {
			nanos := rapid.Int64Range(0, math.MaxInt64).Draw(t, label)
			if nanos == 0 {
				return time.Time{}
			}
			return time.Unix(0, nanos).UTC()
		}
		info := sema.Info{
			Status:    sema.Status(rapid.IntRange(0, 255).Draw(t, "status")),
			Name:      rapid.String().Draw(t, "name"),
			Owner:     rapid.String().Draw(t, "owner"),
			Timeout:   time.Duration(rapid.Int64().Draw(t, "timeout")),
			Token:     rapid.Uint64().Draw(t, "token"),
			ExpiresAt: moment("expires"), CreatedAt: moment("created"), UpdatedAt: moment("updated"),
			Waiting: int(rapid.Uint32().Draw(t, "waiting")),
		}
		encoded, err := proto.Marshal(transport.InfoToWire(info))
		if err != nil {
			t.Fatal(err)
		}
		var m semav1.Info
		if err := proto.Unmarshal(encoded, &m); err != nil {
			t.Fatal(err)
		}
		if got := transport.InfoFromWire(&m); got != info {
			t.Fatalf("%+v came back as %+v", info, got)
		}
	})
}

func TestWhatAMessageLacksIsZero(t *testing.T) {
	if got := transport.InfoFromWire(nil); got != (sema.Info{}) {
		t.Errorf("no Info became %+v", got)
	}
	if got := transport.StatusFromWire(nil); got.ClusterID != "" || got.Nodes != nil {
		t.Errorf("no status became %+v", got)
	}
	if transport.AttemptToWire(sema.Attempt{}, true) != nil {
		t.Error("no attempt became one")
	}
	for _, number := range []semav1.Status{-1, 256, 260} {
		if got := transport.InfoFromWire(&semav1.Info{Status: number}).Status; got.Valid() {
			t.Errorf("status %d became %v", number, got)
		}
	}
}

func TestClusterStatusCrossesUnchanged(t *testing.T) {
	st := transport.ClusterStatus{ClusterID: "c", Nodes: []transport.NodeStatus{
		{ID: "n1", RaftAddr: "a:1", GRPCAddr: "a:2", Leader: true, State: "leader", Term: 7, CommitIndex: 8, AppliedIndex: 9},
		{ID: "n2", RaftAddr: "b:1", State: "unreachable", Err: "connection refused"},
	}}
	got := transport.StatusFromWire(transport.StatusToWire(st))
	if got.ClusterID != st.ClusterID || len(got.Nodes) != 2 || got.Nodes[0] != st.Nodes[0] || got.Nodes[1] != st.Nodes[1] {
		t.Errorf("%+v came back as %+v", st, got)
	}
}

// raw sends bytes as they are, as if they were a message.
type raw struct{}

func (raw) Name() string                  { return "proto" }
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// methods are those of the service, each with a request that is in order.
var methods = []struct {
	name    string
	request proto.Message
}{
	{"Acquire", &semav1.AcquireRequest{Name: "a", Owner: "me", Timeout: durationpb.New(time.Second),
		Attempt: &semav1.Attempt{Client: make16(1), Seq: 1, LowestOpen: 1}}},
	{"Touch", &semav1.TouchRequest{Name: "a", Token: 1, Attempt: &semav1.Attempt{Client: make16(1), LowestOpen: 1}}},
	{"Release", &semav1.ReleaseRequest{Name: "a", Attempt: &semav1.Attempt{Client: make16(1), Seq: 1, LowestOpen: 1}}},
	{"ForceRelease", &semav1.ForceReleaseRequest{Name: "a", Token: 1}},
	{"Get", &semav1.GetRequest{Name: "a", Stale: true}},
	{"List", &semav1.ListRequest{Prefix: "a", PageToken: "ab", PageSize: 10}},
	{"Status", &semav1.StatusRequest{NodeOnly: true}},
	{"TouchAll", &semav1.TouchAllRequest{Holds: []*semav1.Hold{{Name: "a", Token: 1}, {Name: "b"}}, Attempt: &semav1.Attempt{Client: make16(1), LowestOpen: 1}}},
}

// Any bytes may come as a request. The answer is an answer or a refusal, and the
// backend sees nothing that is not valid.
func FuzzRequests(f *testing.F) {
	for i, method := range methods {
		encoded, err := proto.Marshal(method.request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), encoded)
		f.Add(uint8(i), encoded[:len(encoded)/2])
		f.Add(uint8(i), []byte{})
		// A length that promises more than there is.
		f.Add(uint8(i), []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x07})
	}
	node := serve(f, "n1", nil)
	invalid := make(chan error, 1)
	node.Intercept(func(_ context.Context, req any, apply func() error) error {
		if req, ok := req.(interface{ Validate() error }); ok {
			if err := req.Validate(); err != nil {
				invalid <- err
			}
		}
		return apply()
	})
	f.Fuzz(func(t *testing.T, method uint8, request []byte) {
		var response []byte
		name := methods[int(method)%len(methods)].name
		err := node.conn.Invoke(t.Context(), "/sema.v1.Sema/"+name, &request, &response, grpc.ForceCodec(raw{}))
		select {
		case err := <-invalid:
			t.Errorf("the backend was asked for something invalid: %v", err)
		default:
		}
		switch status.Code(err) {
		case codes.OK:
		case codes.InvalidArgument, codes.FailedPrecondition, codes.NotFound, codes.Aborted:
			if !matchesContract(transport.ErrorFromStatus(err)) {
				t.Errorf("%s: %v is no error of the contract", name, err)
			}
		case codes.Internal, codes.ResourceExhausted: // not a message, or too large a one
		default:
			t.Errorf("%s: %v", name, err)
		}
	})
}

func matchesContract(err error) bool {
	for _, row := range crossing {
		if errors.Is(err, row.sentinel) {
			return true
		}
	}
	return false
}

// Any bytes may come as an answer, too.
func FuzzAnswers(f *testing.F) {
	encoded, err := proto.Marshal(&semav1.ListResponse{Infos: []*semav1.Info{transport.InfoToWire(sema.Info{Name: "a", ExpiresAt: time.Now()})}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Fuzz(func(_ *testing.T, data []byte) {
		var info semav1.Info
		if proto.Unmarshal(data, &info) == nil {
			_ = transport.InfoFromWire(&info)
		}
		var page semav1.ListResponse
		if proto.Unmarshal(data, &page) == nil {
			_ = transport.InfosFromWire(page.GetInfos())
			_ = transport.LinesFromWire(page.GetLines())
		}
		var touched semav1.TouchAllResponse
		if proto.Unmarshal(data, &touched) == nil {
			_ = transport.OutcomesFromWire(&touched)
		}
		var st semav1.StatusResponse
		if proto.Unmarshal(data, &st) == nil {
			_ = transport.StatusFromWire(&st)
		}
	})
}
