package sema_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/semanode/sema"
)

func TestErrorsMatch(t *testing.T) {
	sentinels := []error{sema.ErrInvalid, sema.ErrNotHeld, sema.ErrNotFound, sema.ErrLost, sema.ErrNotLeader, sema.ErrNoLeader,
		sema.ErrOverloaded, sema.ErrOutcomeUnknown, sema.ErrAttemptFinished, sema.ErrClosed}
	for _, tc := range []struct {
		err     error
		matches []error
	}{
		{&sema.InvalidError{Field: "name"}, []error{sema.ErrInvalid}},
		{&sema.NotLeaderError{}, []error{sema.ErrNotLeader}},
		{&sema.OutcomeUnknownError{Cause: context.Canceled}, []error{sema.ErrOutcomeUnknown, context.Canceled}},
		{&sema.OutcomeUnknownError{Cause: sema.ErrClosed}, []error{sema.ErrOutcomeUnknown, sema.ErrClosed}},
	} {
		err := fmt.Errorf("wrapped: %w", tc.err)
		for _, want := range tc.matches {
			if !errors.Is(err, want) {
				t.Errorf("%v does not match %v", tc.err, want)
			}
		}
		for _, sentinel := range sentinels {
			expected := false
			for _, want := range tc.matches {
				expected = expected || want == sentinel
			}
			if !expected && errors.Is(err, sentinel) {
				t.Errorf("%v matches %v", tc.err, sentinel)
			}
		}
	}
}

func TestNotLeaderErrorSaysWhomToAsk(t *testing.T) {
	for want, leader := range map[string]sema.Leader{
		"no leader is known":                   {},
		"ask node n2 (grpc 10.0.0.2:7400)":     {ID: "n2", GRPCAddr: "10.0.0.2:7400"},
		"not the leader: ask node n3 (grpc un": {ID: "n3"},
	} {
		if text := (&sema.NotLeaderError{Leader: leader}).Error(); !strings.Contains(text, want) {
			t.Errorf("%+v: %q does not say %q", leader, text, want)
		}
	}
}
