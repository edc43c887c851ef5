package transport_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
)

// A wait has waited in vain if its own time was up, whatever it was told.
func TestInVain(t *testing.T) {
	t.Parallel()
	deadline := time.Now()
	for _, err := range []error{sema.ErrOutcomeUnknown, sema.ErrAttemptFinished, context.Canceled, status.Error(codes.Canceled, "gone")} {
		if got := transport.InVain(err, deadline, deadline.Add(time.Second)); got != context.DeadlineExceeded {
			t.Errorf("%v after its time is counted as %v", err, got)
		}
		if got := transport.InVain(err, deadline, deadline.Add(-2*transport.SameMoment)); got != err {
			t.Errorf("%v before its time is counted as %v", err, got)
		}
	}
	for _, err := range []error{nil, sema.ErrNotLeader, sema.ErrOverloaded} {
		if got := transport.InVain(err, deadline, deadline.Add(time.Second)); got != err {
			t.Errorf("%v is counted as %v", err, got)
		}
	}
}
