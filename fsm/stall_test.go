package fsm_test

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/semanode/sema"
	"github.com/semanode/sema/fsm"
)

// BenchmarkStall measures how long one Apply takes at most while a snapshot of a million
// holds is taken and written to disk beside it, and without one: entries of 512
// commands, the largest that a leader proposes, as often as it takes to touch all every 30 s, the time
// of Snapshot itself and the work of the garbage collector included.
//
//	go test -run xxx -bench Stall -benchtime 3x ./fsm
func BenchmarkStall(b *testing.B) {
	for _, of := range []struct {
		name    string
		clients int
	}{{"clients=1", 1}, {"clients=1000000", benchMillion}} {
		b.Run(of.name, func(b *testing.B) {
			m := fsm.New()
			before := heap()
			holdMany(b, m, benchMillion, of.clients)
			perHold := float64(heap()-before) / benchMillion
			for _, load := range []string{"touch", "cycle"} {
				b.Run(load, func(b *testing.B) {
					s := staller{tb: b, m: m, clients: of.clients, cycles: load == "cycle"}
					var snapshot time.Duration
					var size int64
					var quiet, busy timings
					for b.Loop() {
						s.quiet(&quiet, 5*time.Second)
						took, bytes := s.beside(&busy)
						snapshot, size = snapshot+took, bytes
					}
					quiet.report(b, "quiet")
					busy.report(b, "snapshot")
					b.ReportMetric(snapshot.Seconds()/float64(b.N), "snapshot-s")
					b.ReportMetric(float64(size)/1e6, "snapshot-MB")
					b.ReportMetric(perHold, "bytes/hold")
				})
			}
		})
	}
}

// BenchmarkRestore measures reading a snapshot of a million holds from disk.
func BenchmarkRestore(b *testing.B) {
	for _, clients := range []int{1, benchMillion} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			m := fsm.New()
			holdMany(b, m, benchMillion, clients)
			store := snapshotStore(b)
			id, _ := saveTo(b, store, capture(b, m))
			for b.Loop() {
				_, file, err := store.Open(id)
				if err != nil {
					b.Fatal(err)
				}
				if err := fsm.New().Restore(file); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

const benchMillion = 1_000_000

// staller applies entries to a machine with a million holds and times each.
type staller struct {
	tb      testing.TB
	m       *fsm.Machine
	clients int
	cycles  bool
	next    int
	round   uint64
}

// stallBatch is how many commands an entry has.
const stallBatch = fsm.MaxCommands / 2

// stallPace is how often an entry comes.
const stallPace = 30 * time.Second * stallBatch / benchMillion

// quiet applies entries for a time.
func (s *staller) quiet(into *timings, d time.Duration) {
	pace := time.NewTicker(stallPace)
	defer pace.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-pace.C {
		s.step(into)
	}
}

// beside applies entries from the moment at which a snapshot is asked for until it is
// on disk.
func (s *staller) beside(into *timings) (took time.Duration, size int64) {
	store := snapshotStore(s.tb)
	first := s.entry()
	began := time.Now()
	var snapshot raft.FSMSnapshot
	into.time(func() { // an entry that has to wait for Snapshot waits for all of it
		snapshot = capture(s.tb, s.m)
		s.apply(first)
	})
	saved := make(chan int64)
	go func() {
		_, n := saveTo(s.tb, store, snapshot)
		saved <- n
	}()
	pace := time.NewTicker(stallPace)
	defer pace.Stop()
	for {
		select {
		case size = <-saved:
			return time.Since(began), size
		case <-pace.C:
			s.step(into)
		}
	}
}

// step applies one entry.
func (s *staller) step(into *timings) {
	entry := s.entry()
	into.time(func() { s.apply(entry) })
}

// timings are how long entries took, by the wall clock and in processor time of the
// thread that applied them, which what else the machine does leaves alone.
type timings struct{ wall, thread []time.Duration }

func (t *timings) time(do func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, wall := threadTime(), time.Now()
	do()
	t.wall = append(t.wall, time.Since(wall))
	t.thread = append(t.thread, threadTime()-thread)
}

func (t *timings) report(b *testing.B, name string) {
	slices.Sort(t.wall)
	slices.Sort(t.thread)
	n := len(t.wall)
	b.ReportMetric(t.wall[n/2].Seconds()*1000, name+"-p50-ms")
	b.ReportMetric(t.wall[n*99/100].Seconds()*1000, name+"-p99-ms")
	b.ReportMetric(t.wall[n-1].Seconds()*1000, name+"-max-ms")
	b.ReportMetric(t.thread[n/2].Seconds()*1000, name+"-p50-cpu-ms")
	b.ReportMetric(t.thread[n-1].Seconds()*1000, name+"-max-cpu-ms")
}

func (s *staller) apply(entry *raft.Log) {
	for _, r := range s.m.Apply(entry).([]fsm.Result) {
		if r.Err != nil {
			s.tb.Fatal(r.Err)
		}
	}
}

// entry touches holds all over the place or, if it is for cycles, ends some and
// acquires them anew.
func (s *staller) entry() *raft.Log {
	var commands []fsm.Command
	for len(commands) < stallBatch {
		s.next = (s.next + benchStep) % benchMillion
		name, by := benchName(s.next), sema.Attempt{Client: benchClient(s.next % s.clients)}
		if !s.cycles {
			commands = append(commands, fsm.Command{Kind: fsm.Touch, Name: name, Token: s.m.Look(name).Token, Attempt: by})
			continue
		}
		s.round++
		by.Seq, by.LowestOpen = benchMillion+s.round, benchMillion+s.round
		commands = append(commands,
			fsm.Command{Kind: fsm.Release, Name: name, Token: s.m.Look(name).Token},
			fsm.Command{Kind: fsm.Acquire, Name: name, Owner: "bench@host:1", Timeout: time.Hour, Attempt: by})
	}
	return entryOf(s.tb, fsm.Stamp{Term: 1}, commands...)
}

// holdMany acquires n holds for some clients.
func holdMany(tb testing.TB, m *fsm.Machine, n, clients int) {
	for from := 0; from < n; from += fsm.MaxCommands {
		var commands []fsm.Command
		for i := from; i < min(n, from+fsm.MaxCommands); i++ {
			seq := uint64(i/clients + 1)
			commands = append(commands, fsm.Command{Kind: fsm.Acquire, Name: benchName(i), Owner: "bench@host:1", Timeout: time.Hour,
				Attempt: sema.Attempt{Client: benchClient(i % clients), Seq: seq, LowestOpen: seq}})
		}
		apply(tb, m, entryOf(tb, fsm.Stamp{Term: 1}, commands...))
	}
}

func snapshotStore(tb testing.TB) *raft.FileSnapshotStore {
	store, err := raft.NewFileSnapshotStore(tb.TempDir(), 2, io.Discard)
	if err != nil {
		tb.Fatal(err)
	}
	return store
}

// saveTo writes a snapshot as raft does.
func saveTo(tb testing.TB, store *raft.FileSnapshotStore, snapshot raft.FSMSnapshot) (id string, size int64) {
	sink, err := store.Create(raft.SnapshotVersionMax, 1, 1, raft.Configuration{}, 0, nil)
	if err == nil {
		err = snapshot.Persist(sink)
	}
	snapshot.Release()
	if err != nil {
		tb.Error(err)
		return "", 0
	}
	all, err := store.List()
	if err != nil || len(all) == 0 {
		tb.Error(err, os.ErrNotExist)
		return "", 0
	}
	return sink.ID(), all[0].Size
}
