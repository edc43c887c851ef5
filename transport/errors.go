package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// errorTable is the one table of errors that cross the wire, in both directions.
// Append only: numbers and codes are part of the protocol. The first row that
// matches counts, so an outcome that is unknown comes first: whatever caused it,
// it must not travel as a failure.
var errorTable = []struct {
	sentinel error
	code     semav1.ErrorCode
	grpc     codes.Code
}{
	{sema.ErrOutcomeUnknown, semav1.ErrorCode_OUTCOME_UNKNOWN, codes.Unknown},
	{sema.ErrInvalid, semav1.ErrorCode_INVALID, codes.InvalidArgument},
	{sema.ErrNotHeld, semav1.ErrorCode_NOT_HELD, codes.FailedPrecondition},
	{sema.ErrNotFound, semav1.ErrorCode_NOT_FOUND, codes.NotFound},
	{sema.ErrNotLeader, semav1.ErrorCode_NOT_LEADER, codes.Unavailable},
	{sema.ErrOverloaded, semav1.ErrorCode_OVERLOADED, codes.ResourceExhausted},
	{sema.ErrAttemptFinished, semav1.ErrorCode_ATTEMPT_FINISHED, codes.Aborted},
	{sema.ErrClosed, semav1.ErrorCode_CLOSED, codes.Unavailable},
	{sema.ErrMembership, semav1.ErrorCode_MEMBERSHIP, codes.FailedPrecondition},
	{sema.ErrDenied, semav1.ErrorCode_DENIED, codes.PermissionDenied},
	{sema.ErrUnauthenticated, semav1.ErrorCode_UNAUTHENTICATED, codes.Unauthenticated},
	{sema.ErrLimit, semav1.ErrorCode_LIMIT, codes.ResourceExhausted},
	{sema.ErrUpgrading, semav1.ErrorCode_UPGRADING, codes.FailedPrecondition},
}

// ErrorToStatus turns an error of a Backend into what travels. Errors of the
// contract keep their meaning and their details; a context's end becomes the
// code gRPC has for it; anything else is INTERNAL with its text.
func ErrorToStatus(err error) error {
	if err == nil {
		return nil
	}
	text := strings.ToValidUTF8(err.Error(), "\uFFFD") // gRPC drops the details of a status whose text is not
	for _, row := range errorTable {
		if !errors.Is(err, row.sentinel) {
			continue
		}
		st, detailErr := status.New(row.grpc, text).WithDetails(errorDetail(row.code, err))
		if detailErr != nil {
			return status.Errorf(codes.Internal, "sema: error detail for %q: %v", text, detailErr)
		}
		return st.Err()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, text)
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, text)
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Internal, text)
}

func errorDetail(code semav1.ErrorCode, err error) *semav1.ErrorDetail {
	detail := &semav1.ErrorDetail{Code: code}
	for _, fault := range faults(err) {
		detail.Violations = append(detail.Violations,
			&semav1.FieldViolation{Field: fault.Field, Value: fault.Value, Limit: fault.Limit})
	}
	var notLeader *sema.NotLeaderError
	if errors.As(err, &notLeader) && notLeader.Leader.ID != "" {
		detail.Leader = &semav1.Leader{Id: notLeader.Leader.ID, RaftAddr: notLeader.Leader.RaftAddr, GrpcAddr: notLeader.Leader.GRPCAddr}
	}
	var limit *sema.LimitError
	if errors.As(err, &limit) {
		detail.Limit = limitToWire(limit)
	}
	return detail
}

// codeOf and errorOfCode carry an error where only its number travels.
func codeOf(err error) semav1.ErrorCode {
	if err == nil {
		return semav1.ErrorCode_ERROR_CODE_UNSPECIFIED
	}
	for _, row := range errorTable {
		if errors.Is(err, row.sentinel) {
			return row.code
		}
	}
	return semav1.ErrorCode_OUTCOME_UNKNOWN // whatever it is, it must not be taken for success or for failure
}

func errorOfCode(code semav1.ErrorCode) error {
	if code == semav1.ErrorCode_ERROR_CODE_UNSPECIFIED {
		return nil
	}
	for _, row := range errorTable {
		if row.code == code {
			return row.sentinel
		}
	}
	return fmt.Errorf("sema: error code %d, which this version does not know", code)
}

// faults collects every InvalidError of a tree of joined errors.
func faults(err error) []*sema.InvalidError {
	switch err := err.(type) {
	case *sema.InvalidError:
		return []*sema.InvalidError{err}
	case interface{ Unwrap() []error }:
		var all []*sema.InvalidError
		for _, e := range err.Unwrap() {
			all = append(all, faults(e)...)
		}
		return all
	case interface{ Unwrap() error }:
		return faults(err.Unwrap())
	}
	return nil
}

// ErrorFromStatus is the inverse of ErrorToStatus: the result matches the
// contract's errors with errors.Is. It leaves errors that carry no ErrorDetail,
// such as those of gRPC itself, as they are.
func ErrorFromStatus(err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	for _, d := range st.Details() {
		detail, ok := d.(*semav1.ErrorDetail)
		if !ok {
			continue
		}
		switch detail.GetCode() {
		case semav1.ErrorCode_INVALID:
			if len(detail.GetViolations()) > 0 {
				return invalidFromDetail(detail)
			}
		case semav1.ErrorCode_NOT_LEADER:
			leader := detail.GetLeader()
			return &sema.NotLeaderError{Leader: sema.Leader{ID: leader.GetId(), RaftAddr: leader.GetRaftAddr(), GRPCAddr: leader.GetGrpcAddr()}}
		case semav1.ErrorCode_OUTCOME_UNKNOWN:
			return &sema.OutcomeUnknownError{Cause: errors.New(st.Message())}
		}
		if limit := detail.GetLimit(); detail.GetCode() == semav1.ErrorCode_LIMIT && limit != nil {
			return limitFromWire(limit)
		}
		for _, row := range errorTable {
			if row.code == detail.GetCode() {
				return wireError(row.sentinel, st.Message())
			}
		}
		return fmt.Errorf("sema: error code %d, which this version does not know: %s", detail.GetCode(), st.Message())
	}
	return err
}

// wireError keeps the text as sent and the sentinel for errors.Is, without
// saying the sentinel's own text twice.
func wireError(sentinel error, message string) error {
	if message == sentinel.Error() {
		return sentinel
	}
	return &remoteError{sentinel, message}
}

type remoteError struct {
	sentinel error
	message  string
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.sentinel }

func invalidFromDetail(detail *semav1.ErrorDetail) error {
	var all []error
	for _, v := range detail.GetViolations() {
		all = append(all, &sema.InvalidError{Field: v.GetField(), Value: v.GetValue(), Limit: v.GetLimit()})
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}
