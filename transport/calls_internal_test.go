package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport/semav1"
)

// answeredBatch is what an exchange counts: acquires that were answered well.
func answeredBatch(n int) []*exchanged {
	batch := make([]*exchanged, n)
	for i := range batch {
		x := &exchanged{began: time.Now()}
		x.Method, x.Info.Status = MethodAcquire, sema.Acquired
		batch[i] = x
	}
	return batch
}

// Counting allocates nothing, and nobody's calls do not even look at the clock. It is not
// parallel: what it measures counts for the whole process.
func TestCountingAllocatesNothing(t *testing.T) {
	batch := answeredBatch(100)
	for _, c := range []*Calls{nil, NewCalls()} {
		if n := testing.AllocsPerRun(20, func() { c.answered(batch) }); n != 0 {
			t.Errorf("%v allocations for 100 calls, counted: %v", n, c != nil)
		}
	}
	var nobody *Calls
	if !nobody.now().IsZero() {
		t.Error("the clock is looked at for nobody")
	}
}

// Every error of the contract has a name of its own, whether it comes as it is or as it
// travels, and so has every code of gRPC.
func TestCodes(t *testing.T) {
	t.Parallel()
	for _, row := range errorTable {
		want := row.code.String()
		for _, err := range []error{row.sentinel, fmt.Errorf("why: %w", row.sentinel), ErrorToStatus(row.sentinel)} {
			if got := codeName(codeNumber(err)); got != want {
				t.Errorf("%v is %s, want %s", err, got, want)
			}
		}
		if int(row.code) >= grpcCodes {
			t.Errorf("%v has the number %d: make grpcCodes larger", row.code, row.code)
		}
	}
	for want, err := range map[string]error{
		"OK":                nil,
		"DEADLINE_EXCEEDED": context.DeadlineExceeded,
		"CANCELED":          status.FromContextError(context.Canceled).Err(),
		"PERMISSION_DENIED": status.Error(codes.PermissionDenied, "no"),
		"UNAUTHENTICATED":   status.Error(codes.Unauthenticated, "who"),
		"UNKNOWN":           errors.New("anything"),
	} {
		if got := codeName(codeNumber(err)); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
	if got := codeNumber(status.Error(codes.Code(999), "from afar")); got >= callCodes {
		t.Errorf("a code that nobody knows has the number %d", got)
	}
}

// Together or one by one, calls are counted alike.
func TestCountingTogether(t *testing.T) {
	t.Parallel()
	together, single := NewCalls(), NewCalls()
	var batch []*exchanged
	now := time.Now()
	for i := range 100 {
		x := &exchanged{began: now}
		x.Method = Method(i % int(MethodGet+2)) // also some that nobody knows
		x.Info.Status = sema.Status(i % 6)
		if i%7 == 0 {
			x.Err = sema.ErrNotHeld
		}
		batch = append(batch, x)
		single.ended(x, x.Err, now)
	}
	together.answered(batch)
	for i, want := range single.Read() {
		if got := together.Read()[i]; !maps.Equal(got.Codes, want.Codes) || got.Took.Count != want.Took.Count {
			t.Errorf("%s: %v in %d, one by one %v in %d", want.Method, got.Codes, got.Took.Count, want.Codes, want.Took.Count)
		}
	}
	for s := sema.Acquired; s <= sema.ForcedReleased; s++ {
		if got, want := together.Acquires(s), single.Acquires(s); got != want || want == 0 {
			t.Errorf("%v: %d, one by one %d", s, got, want)
		}
	}
}

// Answers that were ready when the stream broke are counted: nobody will send them.
func TestUnsentAnswersAreCounted(t *testing.T) {
	t.Parallel()
	calls := NewCalls()
	ex := &exchange{h: &handler{calls: calls}}
	for range 3 {
		x := &exchanged{ex: ex, began: time.Now()}
		x.Method = MethodAcquire
		ex.ready = append(ex.ready, x)
	}
	ex.discard()
	for _, of := range calls.Read() {
		if want := map[string]uint64{"OK": 0, "CANCELED": 3}; of.Method == "Acquire" && !maps.Equal(of.Codes, want) {
			t.Errorf("counted %v, want %v", of.Codes, want)
		}
	}
}

// Every call of the protocol has a row, and an exchange none.
func TestCallsKnowTheProtocol(t *testing.T) {
	t.Parallel()
	c := NewCalls()
	if want := len(semav1.Sema_ServiceDesc.Methods) + len(semav1.Sema_ServiceDesc.Streams) - 1; len(c.methods) != want {
		t.Errorf("%d methods, want %d", len(c.methods), want)
	}
	for m := MethodAcquire; m <= MethodGet; m++ {
		x := &exchanged{}
		x.Method = m
		c.ended(x, nil, time.Now())
	}
	for _, of := range c.Read() {
		travels := of.Method == "Acquire" || of.Method == "Wait" || of.Method == "Touch" || of.Method == "Release" || of.Method == "Get"
		if got := of.Codes["OK"]; (got == 1) != travels {
			t.Errorf("%s was counted %d times", of.Method, got)
		}
	}
	x := &exchanged{}
	x.Method = 99
	c.ended(x, nil, time.Now()) // of a newer client
}

func BenchmarkCountCalls(b *testing.B) {
	c, batch := NewCalls(), answeredBatch(100)
	b.ReportAllocs()
	for b.Loop() {
		c.answered(batch)
	}
}
