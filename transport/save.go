package transport

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema/transport/semav1"
)

// Saver is what a [Backend] may implement besides: it gives away all that it holds.
type Saver interface {
	// Save writes a backup file. It returns [sema.NotLeaderError] before it has
	// written anything, unless the request says Stale. It ends with an error of to.
	Save(ctx context.Context, req SaveRequest, to io.Writer) error
}

// SaveRequest asks for a backup.
type SaveRequest struct {
	Stale bool // the node's own state, which may be behind; needs no leader
}

const (
	// saveStall is how long a client may read nothing of its backup: what the state
	// machine keeps for it grows meanwhile.
	saveStall = 30 * time.Second
	// savePiece bounds what one message carries.
	savePiece = 128 << 10
)

// backupHandler is the gRPC service for backups over a Backend.
type backupHandler struct {
	semav1.UnimplementedBackupServer
	*handler
}

// Save implements semav1.BackupServer. A client that reads nothing is given up: that
// ends the stream, and what is blocked in sending with it.
func (h backupHandler) Save(m *semav1.SaveRequest, stream grpc.ServerStreamingServer[semav1.SaveResponse]) error {
	stalled := make(chan struct{})
	w := &saveWriter{send: stream.Send, watch: time.AfterFunc(saveStall, sync.OnceFunc(func() { close(stalled) }))}
	w.watch.Stop()
	ended := make(chan error, 1)
	go func() { ended <- h.save(stream.Context(), m, w) }() // ends with the stream
	select {
	case err := <-ended:
		return err
	case <-stalled:
		return status.Errorf(codes.DeadlineExceeded, "the backup was given up: nothing of it was read for %v", saveStall)
	}
}

// saveWriter sends what is written. One goroutine at a time uses it.
type saveWriter struct {
	send  func(*semav1.SaveResponse) error
	watch *time.Timer // runs while something is being sent; nil: nobody watches
}

// Write implements [io.Writer].
func (w *saveWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+savePiece)]
		if err := w.piece(part); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

func (w *saveWriter) piece(data []byte) error {
	if w.watch != nil {
		w.watch.Reset(saveStall)
		defer w.watch.Stop()
	}
	return w.send(&semav1.SaveResponse{Data: data})
}

// save answers here or, if this node does not lead, by the one that does. A backup
// that has begun goes nowhere else.
func (h *handler) save(ctx context.Context, m *semav1.SaveRequest, w *saveWriter) error {
	local := func() (*semav1.SaveResponse, error) {
		saver, ok := h.backend.(Saver)
		if !ok {
			return nil, status.Error(codes.Unimplemented, "this node takes no backups")
		}
		return &semav1.SaveResponse{}, saver.Save(ctx, SaveRequest{Stale: m.GetStale()}, w)
	}
	_, err := serve(ctx, h, m, h.saveElsewhere(w), local)
	return err
}

// saveElsewhere passes on what the leader sends. It has the form that the calls of
// other services have which are passed on.
func (h *handler) saveElsewhere(w *saveWriter) remote[semav1.SaveRequest, semav1.SaveResponse] {
	return func(_ semav1.SemaClient, ctx context.Context, m *semav1.SaveRequest, opts ...grpc.CallOption) (*semav1.SaveResponse, error) {
		leader, ok := askedLeader(ctx)
		if !ok {
			return nil, status.Error(codes.Internal, "a backup that is passed on to nobody")
		}
		peer, err := h.peers.Backup(leader.RaftAddr)
		if err != nil {
			return nil, err
		}
		if err := ReceiveSave(peer, ctx, m, w, opts...); err != nil {
			return nil, err
		}
		return &semav1.SaveResponse{}, nil
	}
}

// ReceiveSave calls Save and writes what it answers. The error is that of the call, or
// of to.
func ReceiveSave(c semav1.BackupClient, ctx context.Context, m *semav1.SaveRequest, to io.Writer, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithCancel(ctx) // a stream that is not read to its end must be cancelled
	defer cancel()
	stream, err := c.Save(ctx, m, opts...)
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if _, err := to.Write(resp.GetData()); err != nil {
			return err
		}
	}
}

// Save is Save of semav1.BackupServer for callers in this process: it writes the file.
func (l *Local) Save(ctx context.Context, req SaveRequest, to io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.handler.stopping, cancel)()
	w := &saveWriter{send: func(m *semav1.SaveResponse) error {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		_, err := to.Write(m.GetData())
		return err
	}}
	return ErrorFromStatus(l.handler.save(inProcess(ctx, nil), &semav1.SaveRequest{Stale: req.Stale}, w))
}
