package fsm_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// manyHolds is enough that a snapshot is written in several parts.
const manyHolds = 8_000

// TestSnapshotIsOfTheMomentOfItsCapture writes two snapshots, captured at two
// moments, while all that they share is touched, released, taken and decided
// again.
func TestSnapshotIsOfTheMomentOfItsCapture(t *testing.T) {
	m, _ := withHolds(t, manyHolds)
	withLines(t, m)
	changes := &changes{tb: t, m: m}
	var wants [][]byte
	var writing sync.WaitGroup
	applied := make(chan struct{}) // one for each part that may be written
	sinks := [2]*steppedSink{{applied: applied}, {applied: applied}}
	for _, s := range sinks {
		for range 5 {
			changes.apply()
		}
		wants = append(wants, snapshotOf(t, m))
		captured := capture(t, m)
		writing.Go(func() {
			if err := captured.Persist(s); err != nil {
				t.Error(err)
			}
		})
	}
	written := make(chan struct{})
	go func() { writing.Wait(); close(written) }()
	for {
		changes.apply()
		select {
		case applied <- struct{}{}:
			continue
		case <-written:
		}
		break
	}
	for i, s := range sinks {
		if !bytes.Equal(s.Bytes(), wants[i]) {
			t.Errorf("snapshot %d is not the state at its capture", i)
		}
		if s.parts < 3 {
			t.Errorf("snapshot %d was written in %d parts, want some: the test shows nothing", i, s.parts)
		}
	}
	if bytes.Equal(wants[0], wants[1]) || bytes.Equal(wants[1], snapshotOf(t, m)) {
		t.Error("nothing changed: the test shows nothing")
	}
}

// steppedSink lets an entry be applied before each part that is written.
type steppedSink struct {
	sink
	applied chan struct{}
	parts   int
}

func (s *steppedSink) Write(p []byte) (int, error) {
	<-s.applied
	s.parts++
	return s.sink.Write(p)
}

// changes applies entries that change semaphores and clients in every way that
// there is, in place, by a copy, by a new one and by its end; and lines at both
// ends and in the middle.
type changes struct {
	tb    testing.TB
	m     *fsm.Machine
	round int
}

func (c *changes) apply() {
	c.round++
	var commands []fsm.Command
	for i := range 50 {
		i = (c.round*50 + i) * benchStep % manyHolds
		as := sema.Attempt{Client: benchClient(i)}
		name, owned := benchName(i), uint64(i+1)
		switch i % 5 {
		case 0: // touched
			commands = append(commands, fsm.Command{Kind: fsm.Touch, Name: name, Token: owned, Attempt: as})
		case 1: // released; the client has its answer
			as.LowestOpen = 2
			commands = append(commands, fsm.Command{Kind: fsm.Release, Name: name, Token: owned, Attempt: as})
		case 2: // another outcome behind those that are shared
			as.Seq, as.LowestOpen = uint64(c.round+2), 1
			commands = append(commands, fsm.Command{Kind: fsm.Acquire, Name: name, Owner: "again", Timeout: time.Hour, Attempt: as})
		case 3: // another outcome of one of ten clients between those that are shared
			as.Client = benchClient(i % 10)
			for _, seq := range []uint64{900, 500 - uint64(c.round%400)} {
				commands = append(commands, fsm.Command{Kind: fsm.Release, Name: name, Attempt: sema.Attempt{Client: as.Client, Seq: seq, LowestOpen: 1}})
			}
		case 4: // ended, and taken by somebody who is new
			commands = append(commands, fsm.Command{Kind: fsm.ForceRelease, Name: name, Token: owned},
				fsm.Command{Kind: fsm.Acquire, Name: name, Owner: "next", Timeout: time.Hour,
					Attempt: sema.Attempt{Client: benchClient(manyHolds + c.round), Seq: uint64(i + 1), LowestOpen: uint64(i + 1)}})
		}
	}
	commands = append(commands, c.lines()...)
	stamp := at(time.Duration(c.round) * time.Second)
	apply(c.tb, c.m, entryOf(c.tb, stamp, commands...))
}

// lines hands some semaphores over to the heads of their lines. Some leave from the
// middle of them, and others come.
func (c *changes) lines() (commands []fsm.Command) {
	for i := range 5 {
		name := lineName(c.round + i)
		commands = append(commands, fsm.Command{Kind: fsm.Release, Name: name, Token: c.m.Look(name).Token})
		for j := range 3 {
			middle := manyTickets/lineNames/2 + (c.round*3+j)%100
			leave := wait(name, middle*lineNames+(c.round+i)%lineNames)
			leave.Kind = fsm.Release
			commands = append(commands, leave, wait(name, manyTickets+(c.round*5+i)*3+j))
		}
	}
	return commands
}

// manyTickets stand in lineNames lines, in turn.
const manyTickets, lineNames = 4_000, 20

func lineName(i int) string { return fmt.Sprintf("line/%02d", i%lineNames) }

// wait is the acquire of the i-th client that waits in a line.
func wait(name string, i int) fsm.Command {
	return fsm.Command{Kind: fsm.Acquire, Name: name, Owner: "waiter@host:1", Timeout: time.Hour, Wait: true,
		Attempt: sema.Attempt{Client: benchClient(manyHolds*10 + i), Seq: 1, LowestOpen: 1}}
}

// withLines adds semaphores that are held and waited for.
func withLines(tb testing.TB, m *fsm.Machine) {
	for from := 0; from < manyTickets; from += 1000 {
		var commands []fsm.Command
		for i := range 1000 {
			commands = append(commands, wait(lineName(i), from+i))
		}
		apply(tb, m, entryOf(tb, fsm.Stamp{Term: 1}, commands...))
	}
}

// TestReadersBesideApply reads in every way there is while entries are applied
// and snapshots are captured. What each reader sees is of one moment, and later
// moments come later.
func TestReadersBesideApply(t *testing.T) {
	m, _ := withHolds(t, manyHolds)
	withLines(t, m)
	changes := &changes{tb: t, m: m}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for _, read := range []func(*fsm.Machine, *reading) error{readClock, readLook, readList, readDeadlines, readLines, readTickets} {
		readers.Go(func() {
			for seen := (&reading{}); ; seen.times++ {
				if err := read(m, seen); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 100 {
		changes.apply()
		if i%10 == 0 {
			capture(t, m)
		}
	}
	close(done)
	readers.Wait()
}

// reading is what a reader saw before.
type reading struct {
	times int
	clock fsm.Time
}

func readClock(m *fsm.Machine, before *reading) error {
	now := m.Clock()
	if now < before.clock {
		return fmt.Errorf("clock went from %v to %v", before.clock, now)
	}
	before.clock = now
	return nil
}

func readLook(m *fsm.Machine, before *reading) error {
	i := before.times % manyHolds
	view := m.Look(benchName(i))
	if view.Held && (view.Info.Token != view.Token || view.Info.Name != benchName(i) || view.Token < uint64(i+1)) {
		return fmt.Errorf("look at hold %d: %+v", i, view)
	}
	if d, stands := m.DeadlineOf(benchName(i), view.Token); stands && d.At < view.Deadline {
		return fmt.Errorf("the deadline of hold %d went from %v to %v", i, view.Deadline, d.At)
	}
	return nil
}

func readList(m *fsm.Machine, before *reading) error {
	after := benchName(before.times % manyHolds)
	infos := m.List("standing/", after, 100, 0).Infos
	if len(infos) > 0 && infos[0].Name <= after {
		return fmt.Errorf("%q was listed after %q", infos[0].Name, after)
	}
	if !slices.IsSortedFunc(infos, func(a, b sema.Info) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) }) {
		return fmt.Errorf("list out of order: %+v", infos)
	}
	return nil
}

func readDeadlines(m *fsm.Machine, before *reading) error {
	last := ""
	for next, more := "", true; more; more = next != "" {
		var disorder error
		next = m.Deadlines(next, 512, func(d fsm.Deadline) {
			if d.Name <= last || d.Token == 0 || d.At == 0 {
				disorder = fmt.Errorf("%+v after %q", d, last)
			}
			last = d.Name
		})
		if disorder != nil {
			return disorder
		}
	}
	return nil
}

// readLines sees each line in the order of its tickets, and all its places at one
// moment.
func readLines(m *fsm.Machine, before *reading) error {
	name := lineName(before.times)
	var last fsm.Place
	var disorder error
	m.Line(name, fsm.Place{}, 1000, func(p fsm.Place) {
		if p.Name != name || p.Number <= last.Number || p.Position != last.Position+1 {
			disorder = fmt.Errorf("%+v after %+v", p, last)
		}
		last = p
	})
	info, line, held := m.Show(name, 1000)
	if held && (info.Waiting != len(line) || info.Token == 0 || len(line) > 0 && line[0].Position != 1) {
		disorder = fmt.Errorf("%+v with %d in line", info, len(line))
	}
	page := m.List("line/", "", 4*manyTickets, manyTickets)
	for _, info := range page.Infos {
		if info.Waiting != len(page.Lines[info.Name]) {
			disorder = fmt.Errorf("%+v listed with %d in line", info, len(page.Lines[info.Name]))
		}
	}
	return disorder
}

func readTickets(m *fsm.Machine, _ *reading) error {
	last := uint64(0)
	for next, more := uint64(0), true; more; more = next != 0 {
		var disorder error
		next = m.Tickets(next, 512, func(p fsm.Place) {
			if p.Number <= last || p.Name == "" || p.Attempt.Seq != 1 {
				disorder = fmt.Errorf("%+v after ticket %d", p, last)
			}
			last = p.Number
		})
		if disorder != nil {
			return disorder
		}
	}
	return nil
}
