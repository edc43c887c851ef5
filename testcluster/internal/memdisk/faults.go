package memdisk

import (
	"time"

	"github.com/hashicorp/raft"
)

// defaultWriteback is when a kernel starts to write dirty pages back.
const defaultWriteback = 5 * time.Second

// pauseSeen is how long the gate must hold an operation to have paused it.
const pauseSeen = time.Millisecond

// phase is one half of a write operation.
type phase struct {
	latency time.Duration
	slowed  *int // counts the operations that waited for latency
}

// Stats counts what the disk did and which faults bit, since the disk was made.
type Stats struct {
	Writes int // operations that wrote; each is counted once it has written
	Syncs  int // operations that synced and so succeeded

	SlowWrites  int  // operations that began to wait for the latency of the write
	SlowSyncs   int  // operations that began to wait for the latency of the sync
	Stalled     int  // times that a stall began to hold an operation
	Paused      int  // times that the gate had held an operation for a millisecond or more
	Failed      int  // operations that returned the error of FailWrites
	Cuts        int  // cuts, armed ones included
	ArmedCuts   int  // cuts that CutAtNextWrite had armed
	Interrupted int  // operations that were under way when their handle ended, and failed for it
	Lost        Lost // what all the cuts took
	Forgotten   int  // operations that succeeded without a sync, for ForgetSync
}

// Stats returns what has happened so far.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// SetLatency sets how long a write takes to reach volatile memory, and how long the
// sync after it takes, until the end of which a power cut loses the write. Both are
// 0 at first; neither concerns reads.
func (d *Disk) SetLatency(write, sync time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.write = phase{latency: write, slowed: &d.stats.SlowWrites}
	d.sync = phase{latency: sync, slowed: &d.stats.SlowSyncs}
}

// Stall makes every operation block, a write also before its sync, until Unstall or
// the end of its handle.
func (d *Disk) Stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stalled == nil {
		d.stalled = make(chan struct{})
	}
}

// Unstall lets the operations that Stall has blocked go on.
func (d *Disk) Unstall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stalled != nil {
		close(d.stalled)
		d.stalled = nil
	}
}

// FailWrites makes every write return err as it is and change nothing, until it is
// called with nil: StoreLogs, DeleteRange, Set, SetUint64, and Create, Write and
// Close of a snapshot, which is then discarded. What has been written is still
// synced. A real error is for example
//
//	&fs.PathError{Op: "write", Path: "raft.db", Err: syscall.ENOSPC}
func (d *Disk) FailWrites(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writeErr = err
}

// SetGate has gate called at the start of every operation, except Close of a handle
// and of a reader. It may block, as a paused machine does, and must return when cut is
// closed, which is when the handle ends. Calls are concurrent. Nil takes it away.
func (d *Disk) SetGate(gate func(cut <-chan struct{})) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = gate
}

// OnStore sets a hook that is called with a copy of the entries of every StoreLogs
// that succeeds, before it returns, and of every one that was interrupted but whose
// entries are on the disk all the same: when they become durable, or when ForgetSync
// lets it succeed without. Together these are all the entries that any disk ever took.
// The hook is called in order and under the disk's mutex: it must neither block nor
// use the disk. Nil takes it away.
func (d *Disk) OnStore(hook func([]*raft.Log)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onStore = hook
}

// ForgetSync makes operations return without a sync, nor its latency: what they wrote
// becomes durable with any later sync, or once the time that SetWriteback sets has
// passed. A correct test-suite notices.
func (d *Disk) ForgetSync(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetful = on
}

// SetWriteback sets how long what is written under ForgetSync stays volatile, for
// operations from now on: 5 seconds unless set, and also if set to 0.
func (d *Disk) SetWriteback(after time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writeback = after
}

// leaveUnsynced lets the writes so far become durable by themselves, later. It is
// called with mu held.
func (d *Disk) leaveUnsynced() {
	after := d.writeback
	if after == 0 {
		after = defaultWriteback
	}
	d.tellUnsynced()
	d.mem.leave(time.Now().Add(after))
}

// tellUnsynced tells the hook of all that is written and was not told. It is called
// with mu held, before that becomes durable.
func (d *Disk) tellUnsynced() {
	for i := range d.mem.unsynced {
		if c := &d.mem.unsynced[i]; !c.told {
			c.told = true
			d.tell(c.entries)
		}
	}
}

// tell calls the hook, if any, with a copy of entries. It is called with mu held.
func (d *Disk) tell(entries []raft.Log) {
	if d.onStore == nil || len(entries) == 0 {
		return
	}
	copies := make([]*raft.Log, len(entries))
	for i := range entries {
		entry := copyLog(&entries[i])
		copies[i] = &entry
	}
	d.onStore(copies)
}
