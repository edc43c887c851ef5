package client

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// sender is a node that sends a backup in pieces, each after some time.
type sender struct {
	semav1.SemaClient
	pieces int
	each   time.Duration
	hangs  int // after so many pieces; 0: it does not
}

// Save implements what a node in this process has.
func (s sender) Save(ctx context.Context, _ transport.SaveRequest, to io.Writer) error {
	for i := range s.pieces {
		pause := s.each
		if s.hangs > 0 && i == s.hangs {
			pause = time.Hour
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		if _, err := to.Write(make([]byte, 10)); err != nil {
			return err
		}
	}
	return nil
}

// slow takes its time for each piece.
type slow time.Duration

// Write implements [io.Writer].
func (s slow) Write(p []byte) (int, error) {
	<-time.After(time.Duration(s))
	return len(p), nil
}

// Whoever takes the pieces of a backup may be as slow as they like: a node is given up for
// its own silence only.
func TestSilenceIsTheNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			name      string
			node      sender
			to        io.Writer
			givenUpIn time.Duration // 0: it is not
		}{
			{"all quick", sender{pieces: 3}, io.Discard, 0},
			{"a slow reader", sender{pieces: 3, each: time.Second}, slow(saveSilence + time.Minute), 0},
			{"a slow node", sender{pieces: 3, each: saveSilence - time.Second}, slow(saveSilence - time.Second), 0},
			{"a node that hangs", sender{pieces: 3, each: time.Hour}, io.Discard, saveSilence},
			{"a node that hangs in the middle", sender{pieces: 3, each: time.Second, hangs: 2}, io.Discard, 2*time.Second + saveSilence},
		} {
			began := time.Now()
			w := &counted{to: tc.to}
			err := saveFrom(t.Context(), &node{client: tc.node}, transport.SaveRequest{}, w, t.Context())
			switch {
			case tc.givenUpIn == 0 && (err != nil || w.n != 30):
				t.Errorf("%s: %d bytes, %v", tc.name, w.n, err)
			case tc.givenUpIn != 0 && (!errors.Is(err, errSilent) || status.Code(err) != codes.Unavailable || time.Since(began) != tc.givenUpIn):
				t.Errorf("%s: %v, after %v", tc.name, err, time.Since(began))
			}
		}
	})
}
