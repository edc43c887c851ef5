package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
	"github.com/semanode/sema/fsm/internal/logv1"
)

// lies are snapshots that restore and cannot be true, with what is said of them.
var lies = map[string]struct {
	change func(*logv1.Snapshot)
	want   string
}{
	"a last token near the end":   {func(s *logv1.Snapshot) { s.State.LastToken = math.MaxUint64 - 5 }, "the last token is 18446744073709551610"},
	"a last token without a sign": {func(s *logv1.Snapshot) { s.State.LastToken = math.MaxInt64 + 1 }, "the last token is"},
	"a clock near the end": {func(s *logv1.Snapshot) {
		s.State.Clock = math.MaxInt64 - 1
		s.State.TurnAt = turnAfter(s.State.Clock)
	}, "cluster time is"},
	"tickets near the end":   {func(s *logv1.Snapshot) { s.State.LastTicket = math.MaxUint64 }, "the last ticket is"},
	"two holds of one token": {func(s *logv1.Snapshot) { s.Semaphores[1].Holders[0].Token = s.Semaphores[0].Holders[0].Token }, "two holds have the token"},
	"a hold without timeout": {func(s *logv1.Snapshot) { s.Semaphores[0].Holders[0].Timeout = 0 }, "timeout"},
	"a hold for ever": {func(s *logv1.Snapshot) {
		s.Semaphores[0].Holders[0].Deadline = s.State.Clock + int64(sema.MaxTimeout) + 1
	}, "and cluster time is"},
	"a ticket for too long": {func(s *logv1.Snapshot) { s.Tickets[0].Timeout = int64(8 * 24 * time.Hour) }, "ticket"},
}

// turnAfter is when the clients of a state at this moment turn.
func turnAfter(clock int64) int64 {
	const retention = int64(fsm.ClientRetention)
	if next := clock - clock%retention + retention; next > clock {
		return next
	}
	return math.MaxInt64
}

// A state of another cluster is examined for what no checksum tells. One that a log made
// passes.
func TestExamine(t *testing.T) {
	t.Parallel()
	whole := decodeSnapshot(t, snapshotOf(t, everything(t)))
	if err := everything(t).Examine(); err != nil {
		t.Errorf("what entries have made: %v", err)
	}
	for name, lie := range lies {
		s := proto.Clone(whole).(*logv1.Snapshot)
		lie.change(s)
		m := fsm.New()
		if err := m.Restore(io.NopCloser(bytes.NewReader(snapshotFile(t, s)))); err != nil {
			t.Errorf("%s: it does not restore: %v", name, err)
			continue
		}
		if err := m.Examine(); !errors.Is(err, fsm.ErrMalformed) || !strings.Contains(err.Error(), lie.want) {
			t.Errorf("%s: %v, want %q", name, err, lie.want)
		}
	}
}

// Tokens never fall, whatever the last one is said to be.
func TestSucceedDoesNotRunOver(t *testing.T) {
	t.Parallel()
	for _, last := range []uint64{math.MaxInt64 + 1, math.MaxUint64 - 5, math.MaxUint64} {
		s := decodeSnapshot(t, snapshotOf(t, fsm.New()))
		s.State.LastToken = last
		m := restore(t, snapshotFile(t, s))
		for _, generation := range []uint64{fsm.NextGeneration(last), 1, fsm.MaxGeneration} {
			if err := m.Succeed(fsm.Succession{Generation: generation}); err == nil {
				t.Errorf("generation %d after token %d: the last token is %d", generation, last, m.Facts().LastToken)
			}
		}
	}
}
