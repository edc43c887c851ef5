package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// blockedLog is a log that nobody reads, such as a pipe that is full.
type blockedLog struct {
	hclog.Logger
	writing, read chan struct{}
}

// Error implements [hclog.Logger].
func (l blockedLog) Error(string, ...any) {
	close(l.writing)
	<-l.read
}

func TestFaultIsToldWhileTheLogIsBlocked(t *testing.T) {
	t.Parallel()
	log := blockedLog{hclog.NewNullLogger(), make(chan struct{}), make(chan struct{})}
	n := &Node{log: log, ending: make(chan struct{}), hurry: make(chan struct{})}
	failed := make(chan struct{})
	go func() {
		defer close(failed)
		n.fail(errors.New("the disk is gone"))
	}()
	<-log.writing
	if n.blame(errors.New("a second fault")) {
		t.Error("the second fault is taken for the first")
	}
	close(log.read)
	<-failed
	if err := n.Err(); err == nil || err.Error() != "the disk is gone" {
		t.Fatalf("the cause is %v", err)
	}
}

// TestStopOfAnOperationDoesNotWaitForTheFault ends a disk operation while the fault
// that it was taken for is being told to a log that nobody reads.
func TestStopOfAnOperationDoesNotWaitForTheFault(t *testing.T) {
	t.Parallel()
	telling, told := make(chan struct{}), make(chan struct{})
	s := &store{clock: new(Config).withDefaults().Host.Clock, limit: 10 * time.Millisecond, fail: func(error) {
		close(telling)
		<-told
	}}
	op := s.watch("a write")
	<-telling
	op.stop()
	close(told)
}
