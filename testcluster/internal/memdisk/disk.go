package memdisk

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
)

var (
	// ErrCut is what every operation on a handle returns once the handle was cut.
	ErrCut = errors.New("disk was cut off")
	// ErrInUse means that the disk has a live handle: close it, or cut it off.
	ErrInUse = errors.New("disk is in use")
)

// Disk is what is on a machine's disk, and the faults it has. The zero value is an
// empty disk without faults. It is safe for concurrent use and must not be copied.
//
// Faults stay until they are taken back, also over cuts and new handles. What is
// set applies to the operations that reach that point from then on; a latency that
// an operation already waits for does not change.
type Disk struct {
	// mu is never held while something waits. The callback of OnStore runs under it.
	mu    sync.Mutex
	mem   memory
	live  *handle // nil while nobody has the disk open
	stats Stats

	write, sync phase
	stalled     chan struct{} // closed by Unstall; nil while the disk runs
	writeErr    error
	gate        func(cut <-chan struct{})
	onStore     func([]*raft.Log)
	armed       *armedCut
	forgetful   bool
	writeback   time.Duration
}

// Lost is what a power cut took: writes that were not synced.
type Lost struct {
	Entries   int // log entries, counted by index
	Keys      int // keys of the stable store
	Snapshots int
}

// armedCut is a cut that waits for a StoreLogs.
type armedCut struct {
	keep bool
	lost chan Lost // has room for the one value
}

// Open returns a handle on the disk, with all that is on it. It returns ErrInUse
// while another handle is live, that is, neither closed nor cut off. A handle is
// safe for concurrent use; a snapshot's sink or reader is for one goroutine.
//
// After Close a handle's operations return [fs.ErrClosed], also those under way,
// and what those had not synced is as if their process had ended: it stays, and a
// cut may still take it.
func (d *Disk) Open() (host.Disk, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.live != nil {
		return nil, ErrInUse
	}
	d.live = &handle{disk: d, inner: &d.mem, inMemory: true, cut: make(chan struct{})}
	return d.live, nil
}

// Wrap returns inner behind the disk's faults. A disk serves either Open or Wrap. If
// another handle is live, the operations of this one return ErrInUse.
//
// Cut and CutAtNextWrite end the handle and lose nothing: what inner was asked to
// write it writes, and who waits for inner waits on. ForgetSync changes nothing.
// Close of the handle, also of one that was cut off, waits for what inner is doing
// and closes it: close the handle before inner's files are opened again.
func (d *Disk) Wrap(inner host.Disk) host.Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := &handle{disk: d, inner: inner, cut: make(chan struct{})}
	if d.live != nil {
		h.end(ErrInUse)
		return h
	}
	d.live = h
	return h
}

// Cut ends the live handle at this very instant, as SIGKILL or a power cut does:
// every operation on it, also one that is slow, stalled or paused, returns ErrCut.
// What was written but not synced stays and is durable from now on if keepUnsynced;
// else it is gone, and Cut returns what that was. Without a live handle it does the
// same to what earlier ones have left. Afterwards Open works again. An operation
// that had just synced may still return nil; its write is safe.
func (d *Disk) Cut(keepUnsynced bool) Lost {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cutOff(keepUnsynced)
}

// cutOff is Cut with mu held.
func (d *Disk) cutOff(keep bool) Lost {
	var lost Lost
	d.mem.expire()
	if keep {
		d.tellUnsynced()
		d.mem.sync()
	} else {
		lost = d.mem.rollBack()
	}
	if d.live != nil {
		d.live.end(ErrCut)
	}
	d.stats.Cuts++
	d.stats.Lost.Entries += lost.Entries
	d.stats.Lost.Keys += lost.Keys
	d.stats.Lost.Snapshots += lost.Snapshots
	return lost
}

// Wipe is Cut without keeping anything: the disk is empty, as a new one in its place. Its
// faults stay.
func (d *Disk) Wipe() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cutOff(false)
	d.mem = memory{}
}

// CutAtNextWrite arms a cut that happens by itself at the next StoreLogs or
// StoreLog, exactly between its write and its sync. The channel yields what was
// lost once that has happened, and is then closed; it is closed without a value if
// the cut was disarmed. A StoreLogs that fails before it has written leaves the cut
// armed, and so does any other cut. At most one is armed: the latest.
func (d *Disk) CutAtNextWrite(keepUnsynced bool) <-chan Lost {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.disarm()
	d.armed = &armedCut{keep: keepUnsynced, lost: make(chan Lost, 1)}
	return d.armed.lost
}

// Disarm takes CutAtNextWrite back and reports whether a cut was still armed.
func (d *Disk) Disarm() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.disarm()
}

// disarm is Disarm with mu held.
func (d *Disk) disarm() bool {
	armed := d.armed
	d.armed = nil
	if armed != nil {
		close(armed.lost)
	}
	return armed != nil
}

// fireArmed cuts the disk off if a cut is armed. It is called with mu held, by a
// StoreLogs that has just written.
func (d *Disk) fireArmed() {
	if d.armed == nil {
		return
	}
	d.stats.ArmedCuts++
	d.armed.lost <- d.cutOff(d.armed.keep)
	d.disarm()
}

// end makes every operation on the handle return why, now and later. It is called
// with the disk's mu held and has no effect on a handle that has ended.
func (h *handle) end(why error) {
	if h.ended != nil {
		return
	}
	h.ended = why
	close(h.cut)
	if h.disk.live == h {
		h.disk.live = nil
	}
}

// Close ends the handle. It passes neither gate nor stall, so that a node can always
// leave. It returns ErrCut if the handle was cut off, nil if it was closed before.
func (h *handle) Close() error {
	h.disk.mu.Lock()
	h.end(fs.ErrClosed)
	why := h.ended
	h.disk.mu.Unlock()
	var err error
	if !h.inMemory {
		h.busy.Wait()
		h.closeInner.Do(func() { err = h.inner.Close() })
	}
	if why != fs.ErrClosed {
		return why
	}
	return err
}
