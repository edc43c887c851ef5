package memdisk

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema/internal/host"
)

// handle is the fault layer: what one run of a node holds of a disk. Behind it is the
// disk's memory, which syncs separately, or a real disk, which syncs by itself.
type handle struct {
	disk     *Disk
	inner    host.Disk
	inMemory bool          // inner is disk.mem, and guarded by disk.mu
	cut      chan struct{} // closed when ended is set
	ended    error         // why the handle is no longer live; guarded by disk.mu

	busy       sync.WaitGroup // operations inside a real inner disk
	closeInner sync.Once
}

var (
	_ host.Disk              = (*handle)(nil)
	_ raft.MonotonicLogStore = (*handle)(nil)
)

// begin is the start of every operation: the gate, then what pass does.
func (h *handle) begin(p *phase) error {
	d := h.disk
	d.mu.Lock()
	ended, gate := h.ended, d.gate
	d.mu.Unlock()
	if ended != nil {
		return ended
	}
	if gate != nil {
		start := time.Now()
		gate(h.cut)
		if time.Since(start) >= pauseSeen {
			d.mu.Lock()
			d.stats.Paused++
			d.mu.Unlock()
		}
	}
	return h.pass(p)
}

// pass waits for p's latency, if there is a p, and then as long as the disk is stalled.
func (h *handle) pass(p *phase) error {
	d := h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if p != nil && p.latency > 0 && h.ended == nil {
		*p.slowed++
		h.sleep(p.latency)
	}
	for h.ended == nil && d.stalled != nil {
		d.stats.Stalled++
		h.await(d.stalled)
	}
	return h.interrupted()
}

// sleep releases the disk's mu, which is held, for the time given, or until the
// handle ends.
func (h *handle) sleep(latency time.Duration) {
	h.disk.mu.Unlock()
	defer h.disk.mu.Lock()
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.cut:
	}
}

// await releases the disk's mu, which is held, until released is closed or the
// handle ends.
func (h *handle) await(released <-chan struct{}) {
	h.disk.mu.Unlock()
	defer h.disk.mu.Lock()
	select {
	case <-released:
	case <-h.cut:
	}
}

// interrupted tells an operation that is under way, and holds the disk's mu, whether
// the handle has ended.
func (h *handle) interrupted() error {
	if h.ended != nil {
		h.disk.stats.Interrupted++
	}
	return h.ended
}

// read is an operation that changes nothing.
func (h *handle) read(op func() error) error {
	if err := h.begin(nil); err != nil {
		return err
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.interrupted(); err != nil {
		return err
	}
	return h.do(op)
}

// prepare is an operation that FailWrites fails, and that leaves nothing to sync.
func (h *handle) prepare(op func() error) error {
	if err := h.begin(nil); err != nil {
		return err
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.attempt(op)
}

// attempt does what FailWrites may fail. It is called with the disk's mu held.
func (h *handle) attempt(op func() error) error {
	if err := h.interrupted(); err != nil {
		return err
	}
	if err := h.disk.writeErr; err != nil {
		h.disk.stats.Failed++
		return err
	}
	return h.do(op)
}

// write is an operation in two halves. What it stored, if it is a StoreLogs, is for
// the hook and for an armed cut.
func (h *handle) write(stored []*raft.Log, op func() error) error {
	if err := h.begin(&h.disk.write); err != nil {
		return err
	}
	if err := h.apply(stored, op); err != nil {
		return err
	}
	return h.sync()
}

// apply is the first half of a write. If the handle ends meanwhile, sync will tell.
func (h *handle) apply(stored []*raft.Log, op func() error) error {
	d := h.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := h.attempt(op); err != nil {
		return err
	}
	d.stats.Writes++
	if !h.inMemory {
		d.tell(copyLogs(stored)) // it is durable, even if the handle has ended
	}
	if len(stored) > 0 && h.ended == nil {
		d.fireArmed()
	}
	return nil
}

// sync is the second half of a write.
func (h *handle) sync() error {
	d := h.disk
	d.mu.Lock()
	forgotten := h.inMemory && d.forgetful && h.ended == nil
	if forgotten {
		d.stats.Forgotten++
		d.leaveUnsynced()
	}
	d.mu.Unlock()
	if forgotten {
		return nil
	}
	if err := h.pass(&d.sync); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := h.interrupted(); err != nil {
		return err
	}
	d.stats.Syncs++
	if h.inMemory {
		d.tellUnsynced()
		d.mem.sync()
	}
	return nil
}

// do runs op on what is behind the handle. The disk's mu, which is held, guards the
// memory, and is released while a real disk works.
func (h *handle) do(op func() error) error {
	if h.inMemory {
		h.disk.mem.expire() // or its list would grow for ever
		return op()
	}
	h.busy.Add(1)
	h.disk.mu.Unlock()
	defer func() {
		h.disk.mu.Lock()
		h.busy.Done()
	}()
	return op()
}
