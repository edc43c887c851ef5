package transport_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// crossing are the errors that cross the wire, with the code each has there.
// Numbers and codes are part of the protocol.
var crossing = []struct {
	sentinel error
	code     semav1.ErrorCode
	grpc     codes.Code
}{
	{sema.ErrInvalid, 1, codes.InvalidArgument},
	{sema.ErrNotHeld, 2, codes.FailedPrecondition},
	{sema.ErrNotFound, 3, codes.NotFound},
	{sema.ErrNotLeader, 4, codes.Unavailable},
	{sema.ErrOverloaded, 5, codes.ResourceExhausted},
	{sema.ErrOutcomeUnknown, 6, codes.Unknown},
	{sema.ErrAttemptFinished, 7, codes.Aborted},
	{sema.ErrClosed, 8, codes.Unavailable},
	{sema.ErrMembership, 9, codes.FailedPrecondition},
	{sema.ErrDenied, 10, codes.PermissionDenied},
	{sema.ErrUnauthenticated, 11, codes.Unauthenticated},
	{sema.ErrLimit, 12, codes.ResourceExhausted},
	{sema.ErrUpgrading, 13, codes.FailedPrecondition},
}

// cross sends an error the way it travels: as a status that was encoded.
func cross(t testing.TB, err error) error {
	t.Helper()
	st, ok := status.FromError(transport.ErrorToStatus(err))
	if !ok {
		t.Fatalf("%v became no status", err)
	}
	encoded, encodeErr := proto.Marshal(st.Proto())
	if encodeErr != nil {
		t.Fatalf("the status of %v cannot travel: %v", err, encodeErr)
	}
	var decoded spb.Status
	if err := proto.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	return transport.ErrorFromStatus(status.ErrorProto(&decoded))
}

func TestEveryErrorCrossesWhole(t *testing.T) {
	if len(crossing)+1 != len(semav1.ErrorCode_name) {
		t.Errorf("%d errors are tried, and the protocol has %d and one for none", len(crossing), len(semav1.ErrorCode_name)-1)
	}
	for _, row := range crossing {
		for _, err := range []error{row.sentinel, fmt.Errorf("release %q: %w", "a", row.sentinel)} {
			st := status.Convert(transport.ErrorToStatus(err))
			if st.Code() != row.grpc {
				t.Errorf("%v has gRPC code %v, want %v", err, st.Code(), row.grpc)
			}
			if len(st.Details()) != 1 || st.Details()[0].(*semav1.ErrorDetail).GetCode() != row.code {
				t.Errorf("%v has details %v, want code %v", err, st.Details(), row.code)
			}
			got := cross(t, err)
			for _, other := range crossing {
				if is := errors.Is(got, other.sentinel); is != (other.sentinel == row.sentinel) {
					t.Errorf("%v came back as %v, which matches %v: %v", err, got, other.sentinel, is)
				}
			}
			if row.sentinel != sema.ErrNotLeader && row.sentinel != sema.ErrOutcomeUnknown && got.Error() != err.Error() {
				t.Errorf("%q came back as %q", err, got)
			}
		}
	}
	if transport.ErrorToStatus(nil) != nil || transport.ErrorFromStatus(nil) != nil {
		t.Error("no error became one")
	}
}

func TestEveryFaultCrosses(t *testing.T) {
	err := errors.Join(sema.Validate("a\nb", "", 0), fmt.Errorf("and: %w", sema.ValidateName("")))
	got := cross(t, err)
	var texts []string
	for _, fault := range got.(interface{ Unwrap() []error }).Unwrap() {
		var invalid *sema.InvalidError
		if !errors.As(fault, &invalid) {
			t.Fatalf("%v is no InvalidError", fault)
		}
		texts = append(texts, fmt.Sprintf("%s=%q", invalid.Field, invalid.Value))
	}
	if want := `name="a\nb" owner="" timeout="0s" name=""`; strings.Join(texts, " ") != want {
		t.Errorf("got %q, want %q", texts, want)
	}
	var one *sema.InvalidError
	if !errors.As(cross(t, sema.ValidateTimeout(0)), &one) || *one != *sema.ValidateTimeout(0).(*sema.InvalidError) {
		t.Errorf("a single fault came back as %+v", one)
	}
}

func TestTheLeaderCrosses(t *testing.T) {
	for _, leader := range []sema.Leader{{}, {ID: "n2", RaftAddr: "10.0.0.2:7500", GRPCAddr: "10.0.0.2:7400"}, {ID: "n2"}} {
		var notLeader *sema.NotLeaderError
		err := cross(t, fmt.Errorf("acquire: %w", &sema.NotLeaderError{Leader: leader}))
		if !errors.As(err, &notLeader) || notLeader.Leader != leader {
			t.Errorf("%+v came back as %v", leader, err)
		}
	}
}

// Whatever made an outcome unknown, it does not travel as the failure that made
// it so.
func TestAnUnknownOutcomeNeverTravelsAsAFailure(t *testing.T) {
	for _, row := range crossing {
		err := cross(t, &sema.OutcomeUnknownError{Cause: row.sentinel})
		if !errors.Is(err, sema.ErrOutcomeUnknown) {
			t.Errorf("unknown because of %v came back as %v", row.sentinel, err)
		}
	}
}

func TestOtherErrors(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code codes.Code
		text string
	}{
		{context.DeadlineExceeded, codes.DeadlineExceeded, "context deadline exceeded"},
		{fmt.Errorf("waiting: %w", context.Canceled), codes.Canceled, "waiting: context canceled"},
		{errors.New("disk on fire"), codes.Internal, "disk on fire"},
		{status.Error(codes.Unimplemented, "not here"), codes.Unimplemented, "not here"},
		{fmt.Errorf("bytes \xff: %w", sema.ErrNotHeld), codes.Unknown, "bytes \uFFFD: sema: not held"}, // a contract error again
	} {
		got := cross(t, tc.err)
		if status.Code(got) != tc.code || !strings.Contains(got.Error(), tc.text) {
			t.Errorf("%v came back as %v", tc.err, got)
		}
	}
	plain := errors.New("no status")
	if got := transport.ErrorFromStatus(plain); got != plain {
		t.Errorf("%v became %v", plain, got)
	}
}

func TestAnErrorCodeFromTheFuture(t *testing.T) {
	st, err := status.New(codes.Aborted, "quota used up").WithDetails(&semav1.ErrorDetail{Code: 99})
	if err != nil {
		t.Fatal(err)
	}
	got := transport.ErrorFromStatus(st.Err())
	if !strings.Contains(got.Error(), "99") || !strings.Contains(got.Error(), "quota used up") {
		t.Errorf("got %v", got)
	}
	for _, row := range crossing {
		if errors.Is(got, row.sentinel) {
			t.Errorf("it matches %v", row.sentinel)
		}
	}
}

func FuzzErrorFromStatus(f *testing.F) {
	for _, row := range crossing {
		encoded, err := proto.Marshal(&semav1.ErrorDetail{Code: row.code,
			Violations: []*semav1.FieldViolation{{Field: "name", Value: "x", Limit: "y"}}, Leader: &semav1.Leader{Id: "n1"}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(row.grpc), "text", encoded)
	}
	f.Fuzz(func(t *testing.T, code uint32, text string, detail []byte) {
		st := &spb.Status{Code: int32(code), Message: text,
			Details: []*anypb.Any{{TypeUrl: "type.googleapis.com/sema.v1.ErrorDetail", Value: detail}}}
		err := transport.ErrorFromStatus(status.ErrorProto(st))
		if (err == nil) != (code == 0) {
			t.Fatalf("code %d became %v", code, err)
		}
		if err != nil {
			_ = err.Error()
		}
	})
}
