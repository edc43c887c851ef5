package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// saver is a backend that writes the same file to everybody, a piece at a time.
type saver struct {
	canned
	pieces [][]byte
	pause  time.Duration // before each
	ended  chan error    // gets how each ended
}

func (s *saver) Save(_ context.Context, req transport.SaveRequest, to io.Writer) (err error) {
	defer func() { s.ended <- err }()
	if err := s.take(req); err != nil {
		return err
	}
	for _, p := range s.pieces {
		time.Sleep(s.pause) // virtual, or none
		if _, err := to.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// saveStream is the server's end of a stream whose client reads as it is told.
type saveStream struct {
	grpc.ServerStream
	ctx  context.Context
	read func(*semav1.SaveResponse) error
}

func (s *saveStream) Context() context.Context          { return s.ctx }
func (s *saveStream) Send(m *semav1.SaveResponse) error { return s.read(m) }

// A client that reads nothing of its backup is given up; one that is slow is not.
func TestSaveStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &saver{pieces: [][]byte{[]byte("one"), make([]byte, 300<<10), []byte("three")}, ended: make(chan error, 1)}
		var file bytes.Buffer
		slow := &saveStream{ctx: t.Context(), read: func(m *semav1.SaveResponse) error {
			time.Sleep(transport.SaveStall - time.Second) // virtual
			file.Write(m.GetData())
			return nil
		}}
		if err := transport.SaveOver(b, &semav1.SaveRequest{Stale: true}, slow); err != nil || !bytes.Equal(file.Bytes(), bytes.Join(b.pieces, nil)) {
			t.Errorf("a slow client: %d bytes, %v", file.Len(), err)
		}
		if req := b.requests()[0]; req != (transport.SaveRequest{Stale: true}) {
			t.Errorf("asked was %+v", req)
		}
		<-b.ended

		ctx, gone := context.WithCancel(t.Context())
		deaf := &saveStream{ctx: ctx, read: func(*semav1.SaveResponse) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		begun := time.Now()
		err := transport.SaveOver(b, &semav1.SaveRequest{}, deaf)
		if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "given up") || time.Since(begun) != transport.SaveStall {
			t.Errorf("a client that does not read, after %v: %v", time.Since(begun), err)
		}
		gone() // as gRPC does when a handler has returned
		if err := <-b.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the backend: %v", err)
		}
	})
}

// A client does not answer for what is long in coming.
func TestSaveIsLongInComing(t *testing.T) {
	t.Parallel()
	for _, pieces := range [][][]byte{{[]byte("one")}, {[]byte("one"), []byte("two")}} {
		synctest.Test(t, func(t *testing.T) {
			b := &saver{pieces: pieces, pause: 2 * transport.SaveStall, ended: make(chan error, 1)}
			quick := &saveStream{ctx: t.Context(), read: func(*semav1.SaveResponse) error { return nil }}
			if err := transport.SaveOver(b, &semav1.SaveRequest{}, quick); err != nil {
				t.Errorf("%d pieces: %v", len(pieces), err)
			}
			synctest.Wait()
		})
	}
}

// Errors of a backup keep their meaning, and a backend that takes none says so.
func TestSaveRefused(t *testing.T) {
	t.Parallel()
	nobody := &saveStream{ctx: t.Context(), read: func(*semav1.SaveResponse) error { return errors.New("nothing was to be sent") }}
	if err := transport.SaveOver(&canned{}, &semav1.SaveRequest{}, nobody); status.Code(err) != codes.Unimplemented {
		t.Errorf("of a backend without backups: %v", err)
	}
	b := &saver{ended: make(chan error, 1)}
	for _, want := range []error{sema.ErrOverloaded, sema.ErrNotLeader, sema.ErrClosed} {
		b.fail(want)
		if errors.Is(want, sema.ErrNotLeader) {
			b.fail(&sema.NotLeaderError{})
		}
		err := transport.ErrorFromStatus(transport.SaveOver(b, &semav1.SaveRequest{}, nobody))
		if !errors.Is(err, want) {
			t.Errorf("%v became %v", want, err)
		}
		<-b.ended
	}
}
