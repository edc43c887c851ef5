package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/semanode/sema"
	"github.com/semanode/sema/transport"
	"github.com/semanode/sema/transport/semav1"
)

// saveSilence is how long a node may take between two pieces of a backup: its
// disk plays no part in it, so anything above moments means that it hangs.
const saveSilence = 20 * time.Second

// errSilent is the cause with which a try ends whose backup does not come: another node
// may send it.
var errSilent = status.Errorf(codes.Unavailable, "no more of the backup came for %v", saveSilence)

// Save takes a backup of the cluster and writes it, a file as package backup reads it:
// all that was acknowledged before is in it. The cluster serves meanwhile. It asks until
// a node begins to send, or ctx ends; there is no backup unless Save returns nil, and
// what was written until then is to be thrown away. [backup.Read] tells whether a file
// is whole. A backup is being taken from that node already: [sema.ErrOverloaded].
//
// [backup.Read]: https://pkg.go.dev/github.com/semanode/sema/backup#Read
func (c *Client) Save(ctx context.Context, req transport.SaveRequest, to io.Writer) error {
	w := &counted{to: to}
	_, err := c.caller.invoke(ctx, reads, func(ctx context.Context, n *node, _ bool) (leader string, sent bool, err error) {
		err = saveFrom(ctx, n, req, w, c.caller.life)
		if err != nil && (w.n > 0 || w.failed != nil || errors.Is(err, sema.ErrOverloaded)) {
			return "", true, &brokenSave{wrote: w.n, cause: err}
		}
		return "", true, err
	})
	var broken *brokenSave
	switch {
	case w.failed != nil:
		return w.failed
	case !errors.As(err, &broken):
		return err
	case broken.wrote == 0:
		return broken.cause
	}
	return fmt.Errorf("the backup broke off after %d bytes, and is none: take it again: %w", broken.wrote, broken.cause)
}

// saveFrom asks one node.
func saveFrom(ctx context.Context, n *node, req transport.SaveRequest, w *counted, life context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(life, func() { cancel(sema.ErrClosed) })()
	silence := time.AfterFunc(saveSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	w.begins, w.ends = func() { silence.Stop() }, func() { silence.Reset(saveSilence) }
	var err error
	if local, ok := n.client.(interface {
		Save(context.Context, transport.SaveRequest, io.Writer) error
	}); ok {
		err = local.Save(ctx, req, w)
	} else {
		err = transport.ReceiveSave(semav1.NewBackupClient(n.conn), ctx, &semav1.SaveRequest{Stale: req.Stale}, w)
		err = transport.ErrorFromStatus(err)
	}
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	return err
}

// counted counts what is written, and keeps why it could not be.
type counted struct {
	to           io.Writer
	begins, ends func() // of a write, which takes as long as it likes: no node is to blame for that
	n            int64
	failed       error
}

// Write implements [io.Writer].
func (w *counted) Write(p []byte) (int, error) {
	w.begins()
	defer w.ends()
	n, err := w.to.Write(p)
	w.n += int64(n)
	if err != nil {
		w.failed = err
	}
	return n, err
}

// brokenSave is a backup that is not begun anew: what was written is the caller's, or it
// was refused. Nobody is to find the cause in it, and try again.
type brokenSave struct {
	wrote int64
	cause error
}

func (e *brokenSave) Error() string { return e.cause.Error() }
