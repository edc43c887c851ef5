package fsm_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// TestReplicas feeds random entries to three machines and to the model of the
// contract. All four answer the same, and the machines have the same snapshot
// bytes, although the third is restored from a snapshot of the first now and
// then. A failure prints how to run it again.
func TestReplicas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &replicas{
			machines: [3]*fsm.Machine{fsm.New(), fsm.New(), fsm.New()},
			model:    newModel(), term: 1, wall: founded, granted: map[uint64]bool{}, queues: queues{},
		}
		t.Repeat(map[string]func(*rapid.T){
			"entry":   r.entry,
			"rush":    r.rush,
			"serve":   r.serve,
			"capture": r.capture,
			"restore": r.restore,
			"damage":  r.damage,
			"":        r.check,
		})
		r.restore(t)
	})
}

// replicas are three machines that are given the same entries.
type replicas struct {
	machines [3]*fsm.Machine
	model    *model
	term     uint64
	wall     time.Time
	granted  map[uint64]bool
	queues   queues
	// captured from the first machine and not written yet, and what it must be.
	captured raft.FSMSnapshot
	want     []byte
}

func (r *replicas) entry(t *rapid.T) {
	batch := fsm.Batch{Stamp: r.stamp(t)}
	for range rapid.IntRange(0, 5).Draw(t, "commands") {
		batch.Commands = append(batch.Commands, r.command(t))
	}
	r.apply(t, batch)
}

// apply gives an entry to all, and compares what they answer.
func (r *replicas) apply(t *rapid.T, batch fsm.Batch) {
	entryTerm := batch.Term
	if rapid.IntRange(0, 9).Draw(t, "deposed") == 0 {
		r.term++
		entryTerm = r.term
	}
	data, err := fsm.AppendBatch(nil, batch)
	if err != nil {
		t.Fatal(err)
	}
	want := r.model.apply(entryTerm, batch)
	for i, m := range r.machines {
		got, ok := m.Apply(&raft.Log{Term: entryTerm, Data: data}).([]fsm.Result)
		if !ok || len(got) != len(want) {
			t.Fatalf("machine %d: %d answers, want %d; %v", i, len(got), len(want), m.Err())
		}
		for j := range got {
			if errors.Is(got[j].Err, sema.ErrInvalid) {
				got[j].Err = sema.ErrInvalid // the model does not know the words
			}
			if !reflect.DeepEqual(got[j], want[j]) {
				t.Fatalf("machine %d, command %+v\ngot  %+v\nwant %+v", i, batch.Commands[j], got[j], want[j])
			}
		}
	}
	for i, c := range batch.Commands {
		if c.Kind == fsm.Acquire && want[i].Info.Status == sema.Acquired && !r.granted[want[i].Info.Token] {
			r.queues.notOvertaken(t, c)
			r.rise(t, want[i].Info.Token)
		}
		if granted := want[i].Granted; granted != nil {
			r.rise(t, granted.Info.Token)
		}
		r.queues.follow(t, c, want[i])
	}
}

// rise checks that a token that is new is above all others.
func (r *replicas) rise(t *rapid.T, token uint64) {
	for other := range r.granted {
		if token <= other {
			t.Fatalf("token %d was granted after %d", token, other)
		}
	}
	r.granted[token] = true
}

// stamp moves the clock by nothing, to a deadline or next to it, by hours, or
// back; and the wall clock along, more or less.
func (r *replicas) stamp(t *rapid.T) fsm.Stamp {
	step := rapid.SampledFrom([]time.Duration{0, 0, 1, 300 * time.Millisecond, 5 * time.Second, 10 * time.Second,
		25 * time.Minute, fsm.ClientRetention, 3 * fsm.ClientRetention, -1, -time.Hour}).Draw(t, "step")
	if h := r.model.holds[r.name(t)]; h != nil && h.deadline > r.model.clock && rapid.Bool().Draw(t, "to deadline") {
		step = h.deadline - r.model.clock - rapid.SampledFrom([]time.Duration{0, 0, 1}).Draw(t, "short of it")
	}
	clock := max(0, r.model.clock+step)
	r.wall = r.wall.Add(step + rapid.SampledFrom([]time.Duration{0, 0, 0, 60 * time.Millisecond, -100 * time.Millisecond,
		101 * time.Millisecond, time.Hour, -time.Hour}).Draw(t, "drift"))
	return fsm.Stamp{Term: r.term, Clock: fsm.Time(clock), Wall: r.wall.UnixNano()}
}

func (r *replicas) name(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "ba"}).Draw(t, "name")
}

// command is about what stands, more often than not.
func (r *replicas) command(t *rapid.T) fsm.Command {
	c := fsm.Command{
		Kind:    rapid.SampledFrom([]fsm.Kind{fsm.Acquire, fsm.Acquire, fsm.Acquire, fsm.Touch, fsm.Release, fsm.Expire, fsm.ForceRelease, fsm.Query, fsm.Cancel}).Draw(t, "kind"),
		Name:    r.name(t),
		Attempt: r.attempt(t),
	}
	if r.queued(t, &c) {
		return c
	}
	if c.Kind == fsm.Acquire {
		c.Wait = rapid.Bool().Draw(t, "wait")
		c.Owner = rapid.SampledFrom([]string{"x", "x", "y", ""}).Draw(t, "owner")
		c.Timeout = rapid.SampledFrom([]time.Duration{10 * time.Second, 10 * time.Second, sema.MaxTimeout, sema.MinTimeout - 1}).Draw(t, "timeout")
	}
	if c.Kind == fsm.Acquire && rapid.Bool().Draw(t, "plain") {
		return c
	}
	if h := r.model.holds[c.Name]; h != nil && c.Kind == fsm.Cancel && rapid.Bool().Draw(t, "as the holder") {
		c.Attempt.Client, c.Attempt.Seq = h.attempt.Client, h.attempt.Seq
	}
	c.Token = rapid.Uint64Range(0, r.model.token+1).Draw(t, "token")
	c.Deadline = fsm.Time(r.model.clock)
	if h := r.model.holds[c.Name]; h != nil && rapid.IntRange(0, 3).Draw(t, "as it stands") > 0 {
		c.Token = h.token
		c.Deadline = fsm.Time(h.deadline) + rapid.SampledFrom([]fsm.Time{0, 0, 0, 1}).Draw(t, "off by")
		return c
	}
	if c.Kind == fsm.Release && rapid.Bool().Draw(t, "by attempt") {
		c.Token = 0
	}
	return c
}

// attempt is one of a few clients, around its lowest open attempt and around the
// limit above it.
func (r *replicas) attempt(t *rapid.T) sema.Attempt {
	a := sema.Attempt{Client: clientID(rapid.SampledFrom([]byte{0, 1, 1, 2, 2, 3}).Draw(t, "client"))}
	if c := r.model.clients[a.Client]; c != nil {
		a.LowestOpen = c.lowest
	}
	above := rapid.SampledFrom([]uint64{0, 1, 1, 2, 2, 3, 4, sema.MaxOpenAttempts - 1, sema.MaxOpenAttempts}).Draw(t, "above lowest")
	a.Seq = a.LowestOpen + above
	switch rapid.IntRange(0, 9).Draw(t, "lowest open") {
	case 0:
		a.LowestOpen = a.Seq
	case 1:
		a.LowestOpen++
	case 2:
		a.LowestOpen -= min(a.LowestOpen, 2)
		a.Seq -= min(a.Seq, 2)
	}
	return a
}

// capture takes a snapshot of the first machine that is written later.
func (r *replicas) capture(t *rapid.T) {
	r.written(t)
	r.want = r.snapshot(t, 0)
	var err error
	if r.captured, err = r.machines[0].Snapshot(); err != nil {
		t.Fatal(err)
	}
}

// written writes what was captured, after all that was applied since.
func (r *replicas) written(t *rapid.T) {
	if r.captured == nil {
		return
	}
	var s sink
	if err := r.captured.Persist(&s); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(s.Bytes(), r.want) {
		t.Fatalf("a snapshot changed after it was captured\ngot  %x\nwant %x", s.Bytes(), r.want)
	}
	r.captured = nil
}

func (r *replicas) snapshot(t *rapid.T, i int) []byte {
	captured, err := r.machines[i].Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var s sink
	if err := captured.Persist(&s); err != nil {
		t.Fatal(err)
	}
	return s.Bytes()
}

// restore compares the snapshots and goes on with a third machine that is
// restored from the first one's.
func (r *replicas) restore(t *rapid.T) {
	r.written(t)
	want := r.snapshot(t, 0)
	same := func(i int) {
		if got := r.snapshot(t, i); !bytes.Equal(got, want) {
			t.Fatalf("snapshot of machine %d\ngot  %x\nwant %x", i, got, want)
		}
	}
	same(1)
	same(2)
	r.machines[2] = fsm.New()
	if err := r.machines[2].Restore(io.NopCloser(bytes.NewReader(want))); err != nil {
		t.Fatal(err)
	}
	same(2)
}

// damage tries to restore a damaged snapshot, which changes nothing.
func (r *replicas) damage(t *rapid.T) {
	snapshot := r.snapshot(t, 0)
	damaged := bytes.Clone(snapshot)
	damaged[rapid.IntRange(0, len(damaged)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
	if err := r.machines[0].Restore(io.NopCloser(bytes.NewReader(damaged))); !errors.Is(err, fsm.ErrMalformed) {
		t.Fatalf("damaged snapshot: %v", err)
	}
	if !bytes.Equal(r.snapshot(t, 0), snapshot) {
		t.Fatal("a damaged snapshot changed the machine")
	}
}

// check holds what the readers see against the model: among other things that
// never two hold one semaphore.
func (r *replicas) check(t *rapid.T) {
	for i, m := range r.machines {
		if m.Clock() != fsm.Time(r.model.clock) {
			t.Fatalf("machine %d: clock %v, want %v", i, m.Clock(), r.model.clock)
		}
		want := r.model.list("b", "")
		if got := m.List("b", "", 1000, 1000); got.More || !reflect.DeepEqual(got.Infos, want) {
			t.Fatalf("machine %d: list\ngot  %+v\nwant %+v", i, got, want)
		}
		var deadlines int
		m.Deadlines("", 10, func(d fsm.Deadline) {
			deadlines++
			h := r.model.holds[d.Name]
			if d.Waiting != (len(r.model.lines[d.Name]) > 0) {
				t.Fatalf("machine %d: %+v, where the line is %+v", i, d, r.model.lines[d.Name])
			}
			if view := m.Look(d.Name); h == nil || view.Token != h.token || d.Token != h.token || time.Duration(d.At) != h.deadline || view.Deadline != d.At {
				t.Fatalf("machine %d: %+v stands, seen as %+v, want %+v", i, d, view, h)
			}
		})
		if deadlines != len(r.model.holds) {
			t.Fatalf("machine %d: %d holds, want %d", i, deadlines, len(r.model.holds))
		}
		r.checkLines(t, m)
	}
}
