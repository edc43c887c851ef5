package history

import (
	"slices"
	"sync"
	"time"

	"github.com/semanode/sema"
)

// Recorder writes down what clients see, each call when it begins and when it
// ends. It is safe for use by many goroutines and never waits for anything but
// its own short lock. Its clock is that of package time, so that inside
// a testing/synctest bubble it is virtual, if the Recorder was made there.
type Recorder struct {
	began time.Time

	mu    sync.Mutex
	seq   uint64 // of the last moment
	ops   []Op
	holds []Hold
	held  []bool // by hold: not ended yet
}

// NewRecorder returns a Recorder whose history begins now.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

// At is a moment as the history counts it, for [Held.End].
func (r *Recorder) At(t time.Time) time.Duration { return t.Sub(r.began) }

// moment is now. r.mu is held, so that times and numbers rise together.
func (r *Recorder) moment() (time.Duration, uint64) {
	r.seq++
	return time.Since(r.began), r.seq
}

// Begin notes that a call is about to be sent. Of op it takes Client, Kind, Name
// and what is asked for; number and times are the Recorder's.
func (r *Recorder) Begin(op Op) *Call {
	r.mu.Lock()
	defer r.mu.Unlock()
	op.ID = len(r.ops) + 1
	op.Start, op.StartSeq = r.moment()
	op.End, op.EndSeq, op.Outcome, op.Places = 0, 0, Pending, nil
	r.ops = append(r.ops, op)
	return &Call{recorder: r, index: op.ID - 1}
}

// Call is a call under way.
type Call struct {
	recorder *Recorder
	index    int
}

// ID returns the op's number.
func (c *Call) ID() int { return c.index + 1 }

// Placed notes that the client was told its place in line.
func (c *Call) Placed(position int) {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	at, seq := c.recorder.moment()
	op := &c.recorder.ops[c.index]
	op.Places = append(op.Places, Told{At: at, Seq: seq, Position: position})
}

// End notes the answer. What outcome means is for the caller to say: most take it
// from [Classify]. A call that was answered from the client's own memory claims
// nothing about the cluster: it is Failed, with an error of no class. Only
// the first End counts.
func (c *Call) End(outcome Outcome, info sema.Info, err error) {
	c.recorder.mu.Lock()
	defer c.recorder.mu.Unlock()
	op := &c.recorder.ops[c.index]
	if op.Outcome != Pending {
		return
	}
	op.End, op.EndSeq = c.recorder.moment()
	op.Outcome, op.Info = outcome, info
	if err != nil {
		_, op.Class = Classify(err)
		op.Err = err.Error()
	}
}

// Hold notes that a client has a lock handle from now on. Of h it takes Op, Client,
// Name, Owner, Token and WindDown.
func (r *Recorder) Hold(h Hold) *Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.From, _ = r.moment()
	h.Until, h.Lost, h.Deadline = 0, false, 0
	r.holds = append(r.holds, h)
	r.held = append(r.held, true)
	return &Held{recorder: r, index: len(r.holds) - 1}
}

// Held is a lock handle that somebody has.
type Held struct {
	recorder *Recorder
	index    int
}

// End notes that the client is about to unlock, or that the handle's context has
// ended. deadline is the handle's last known local deadline, see [Recorder.At], or
// zero. Only the first End counts.
func (h *Held) End(lost bool, deadline time.Duration) {
	h.recorder.mu.Lock()
	defer h.recorder.mu.Unlock()
	if !h.recorder.held[h.index] {
		return
	}
	h.recorder.held[h.index] = false
	hold := &h.recorder.holds[h.index]
	hold.Until, _ = h.recorder.moment()
	hold.Lost, hold.Deadline = lost, deadline
}

// History returns a copy of what was recorded so far. Handles that somebody still
// has are believed in until now.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := History{Ops: slices.Clone(r.ops), Holds: slices.Clone(r.holds)}
	for i := range h.Ops {
		h.Ops[i].Places = slices.Clone(h.Ops[i].Places)
	}
	for i, held := range r.held {
		if held {
			h.Holds[i].Until = time.Since(r.began)
		}
	}
	return h
}
